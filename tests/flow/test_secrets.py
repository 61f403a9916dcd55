"""S30, S31, S32, D11: secrets of workflow files. They come from the environment, stand where the file puts them, and nowhere else."""

from __future__ import annotations

import hashlib
import html
import json
import logging
import os
import signal
import subprocess
import sys
import urllib.parse
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

import plait
from answering_server import Server, answer
from flow_files import problems, run, write
from plait.errors import FlowError, UsageError
from plait.flow import load

SECRET = "s3cr3t/v+lue'\"&<x-hunter2"
ENV = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}


def shown_in(data: bytes, secret: str = SECRET) -> list[str]:
    """In which forms a secret stands there, its hashes without a key among them."""
    raw = secret.encode()
    forms = {
        "raw": raw,
        "quote": urllib.parse.quote(secret, safe="").encode(),
        "quote_plus": urllib.parse.quote_plus(secret).encode(),
        "JSON": json.dumps(secret)[1:-1].encode(),
        "\\u": "".join(f"\\u{ord(each):04x}" for each in secret).encode(),
        "HTML": html.escape(secret).encode(),
        "repr": repr(secret)[1:-1].encode(),
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        **{f"base64 at {at}": b64encode(bytes(at) + raw)[4:-4] for at in range(3)},
        **{name: hashlib.new(name, raw).hexdigest().encode() for name in ("md5", "sha1", "sha256", "blake2b")},
    }
    return [name for name, form in forms.items() if form in data]


def shown_on_disk(folder: Path, secret: str = SECRET) -> list[tuple[str, list[str]]]:
    """Files that have it."""
    files = [each for each in folder.rglob("*") if each.is_file()]
    assert files
    found = [(str(each), shown_in(each.read_bytes() + str(each).encode(), secret)) for each in files]
    return [(name, forms) for name, forms in found if forms]


STEPS = """
import html, json, logging, sys, urllib.parse
logging.basicConfig(stream=sys.stderr)
from base64 import b64encode
import plait

def forms(t):
    raw = t.encode()
    return [t, urllib.parse.quote(t, safe=""), urllib.parse.quote_plus(t), json.dumps(t), html.escape(t), repr(t), raw.hex(), raw.hex().upper(),
            *(b64encode(b"u:"[:at] + raw).decode() for at in range(3)), "".join(f"\\\\u{ord(c):04x}" for c in t)]

def gives(t):
    for each in forms(t):
        print("out", each)
        print("err", each, file=sys.stderr)
        plait.current().log.warning("logged %s", each)
        logging.getLogger("plait").warning("of plait: %s", each)
    return {"list": forms(t), "keys": {each: 1 for each in forms(t)}, "bytes": forms(t)}

def prints(t):
    import os
    logging.getLogger("own").warning("own %s", t)
    for each in forms(t):
        print("worker", each, flush=True)
        os.write(2, f"low {each}".encode() + bytes([10]))
    return gives_bytes(t)

def gives_bytes(t):
    return " ".join(forms(t)).encode()

def fails(t):
    error = ValueError(*forms(t))
    for each in forms(t):
        error.add_note(f"note {each}")
    error.more = forms(t)
    try:
        raise KeyError(t)
    except KeyError as cause:
        plait.current().log.warning("before", exc_info=True)
        raise error from cause

def items(t):
    return forms(t)[:1]

def asks(t):
    return plait.ask(f"Is it {t}?", form=["yes", t], default="yes", timeout=0.05, key=f"k {t[:40]}").wait()

def spends(t):
    plait.current().spend(**{"usd": 1.0, t: 2.0})
    return "spent"
"""

WRITES = "import sys; from steps import forms; import os; t = os.environ['T']\\n"


def flow_of_canaries(url: str) -> str:
    """Every way in: what functions and commands give, print, raise, log, ask, spend and name; what a server says."""
    return f"""
secrets: [TOKEN]

env: {{FROM_FILE: "{{{{ secrets.TOKEN }}}}"}}
tasks:
  gives: {{call: "steps:gives", with: {{t: "{{{{ secrets.TOKEN }}}}"}}}}
  bytes: {{call: "steps:prints", with: {{t: "{{{{ secrets.TOKEN }}}}"}}}}
  worker: {{call: "steps:prints", with: {{t: "{{{{ secrets.TOKEN }}}}"}}, executor: process}}
  fails: {{call: "steps:fails", with: {{t: "{{{{ secrets.TOKEN }}}}"}}, allow_failure: true, retry: {{attempts: 2, delay: 0.01}}}}
  worker_fails: {{call: "steps:asks", with: {{t: "{{{{ secrets.TOKEN }}}}"}}, executor: process, allow_failure: true}}
  items: {{call: "steps:items", with: {{t: "{{{{ secrets.TOKEN }}}}"}}}}
  each: {{foreach: "{{{{ tasks.items.output }}}}", key: "{{{{ item }}}}", run: "echo {{{{ item }}}}"}}
  asks: {{call: "steps:asks", with: {{t: "{{{{ secrets.TOKEN }}}}"}}}}
  spends: {{call: "steps:spends", with: {{t: "{{{{ secrets.TOKEN }}}}"}}}}
  says: {{run: 'echo {{{{ secrets.TOKEN }}}}; printf "%s\\n" "$FROM_FILE" "$T" >&2; printf "%s" "$T" | base64', env: {{T: "x{{{{ secrets.TOKEN }}}}"}}}}
  halves: {{run: "printf s3cr3t/v+lu; sleep 0.05; printf '%s' \\"e'\\\\\\"&<x-hun\\"; sleep 0.05; echo ter2", output: lines}}
  all: {{run: [{sys.executable}, -c, "import os; from steps import forms; t = os.environ['T']; print(*forms(t), sep=chr(10)); exit(7)"], env: {{T: "{{{{ secrets.TOKEN }}}}", PYTHONPATH: .}}, allow_failure: true}}
  loud: {{run: "printf '%s' \\"$T\\" >&2; exit 1", env: {{T: "{{{{ secrets.TOKEN }}}}"}}, on_error: {{run: 'echo {{{{ error.message }}}} {{{{ secrets.TOKEN }}}}'}}}}
  asked: {{http: {{url: "{url}/echo", headers: {{X-Token: "{{{{ secrets.TOKEN }}}}"}}, auth: {{type: basic, username: me, password: "{{{{ secrets.TOKEN }}}}"}}}}}}
  refused: {{http: {{url: "{url}/refuse?t={{{{ url_encode(secrets.TOKEN) }}}}"}}, allow_failure: true}}
  question: {{ask: "Is it {{{{ secrets.TOKEN }}}}?", default: "yes", timeout: 0.05}}
  group:
    loop: {{max: 2, until: "{{{{ tasks.inner.output == secrets.TOKEN }}}}"}}
    tasks: {{inner: {{run: "echo {{{{ secrets.TOKEN }}}}"}}}}
  file: {{flow: inner.yaml}}
outputs:
  token: "{{{{ secrets.TOKEN }}}}"
  all: "{{{{ tasks.gives.output }}}}"
  env: "{{{{ env }}}}"
"""


INNER = """
secrets: [TOKEN]
tasks: {a: {run: "echo {{ secrets.TOKEN }}"}}
outputs: {a: "{{ tasks.a.output }}{{ secrets.TOKEN }}"}
"""


@pytest.fixture
def canaries(tmp_path: Path, server: Server) -> Path:
    """A folder with a flow of all the ways in."""
    server.answers["/echo"] = lambda asked: answer(f"{asked.headers} {SECRET}", x_echo="1")(asked)
    server.answers["/refuse"] = lambda asked: answer(f"no {asked.path} {SECRET}", status="403 Forbidden")(asked)
    write(tmp_path, STEPS.replace("\\\\\\\\u", "\\\\u"), "steps.py")
    write(tmp_path, INNER, "inner.yaml")
    write(tmp_path, flow_of_canaries(server.url))
    return tmp_path


def cli(folder: Path, *words: str, secret: str | None = SECRET) -> subprocess.CompletedProcess[bytes]:
    env = {**ENV, **({"TOKEN": secret} if secret is not None else {})}
    command = [sys.executable, "-m", "plait", *words]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)


@pytest.mark.realtime
class TestCanaries:
    @pytest.mark.parametrize(
        "display", [[], ["-v"], ["--json"], ["--jsonl"]], ids=["plain", "verbose", "json", "jsonl"]
    )
    def test_no_secret_is_on_disk_or_told_by_anything(self, canaries: Path, display: list[str]) -> None:
        """S30, S32: eight encodings and more, through every way in; nothing of it in any file or output, and no hash without a key."""
        done = cli(canaries, "run", "flow.yaml", *display)
        while done.returncode == 3:  # all else was over before the time for an answer
            assert shown_in(done.stdout) == shown_in(done.stderr) == []
            done = cli(canaries, "resume", "last", *display)
        assert done.returncode == 0, done.stderr.decode()
        assert shown_in(done.stdout) == shown_in(done.stderr) == []
        assert b"[REDACTED]" in done.stdout + done.stderr
        if display != ["--json"]:
            assert b"worker [REDACTED]" in done.stdout + done.stderr
            assert b"low [REDACTED]" in done.stderr
            assert b"own [REDACTED]" in done.stderr
        assert shown_on_disk(canaries) == []
        for words in (["show", "last", "-v"], ["show", "last", "--json"], ["ls"], ["logs", "last"], ["logs", "last", "says"], ["why", "last", "fails"], ["why", "last", "fails", "--json"]):  # fmt: skip
            told = cli(canaries, *words, secret=None)  # who only looks has no secret
            assert told.returncode in (0, 1), (words, told.stderr.decode())
            assert shown_in(told.stdout + told.stderr) == [], words
            assert b"Traceback" not in told.stderr

    def test_nor_after_a_kill_in_the_middle_nor_after_the_resume(self, canaries: Path) -> None:
        """S30: nothing is written first and cleaned later."""
        write(canaries, (canaries / "flow.yaml").read_text().replace("tasks:\n", "tasks:\n  kill: {needs: [says, gives, fails, halves, file], run: 'test -e again || { touch again; kill -KILL $PPID; sleep 9; }'}\n", 1))  # fmt: skip
        done = cli(canaries, "run", "flow.yaml", "--run-id", "r1")
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        assert shown_in(done.stdout + done.stderr) == []
        assert shown_on_disk(canaries) == []
        missing = cli(canaries, "resume", "r1", secret=None)
        assert missing.returncode == 2
        assert b"run r1 needs the secret TOKEN: set this variable of the environment again" in missing.stderr
        done = cli(canaries, "resume", "r1", "--json")
        assert done.returncode == 0, done.stderr.decode()
        assert json.loads(done.stdout)["outputs"]["token"] == "[REDACTED]"
        assert shown_in(done.stdout + done.stderr) == []
        assert shown_on_disk(canaries) == []

    def test_nor_in_what_python_is_given(
        self, canaries: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("TOKEN", SECRET)
        monkeypatch.chdir(canaries)
        events: list[Any] = []
        caplog.set_level(logging.DEBUG, "plait")
        result = plait.run(load(canaries / "flow.yaml"), readers=[events.append], raise_on_failure=False)
        errors = [each.error for each in result.values() if each.error is not None]
        assert len(errors) >= 3
        # Loggers of its own a program hears itself.
        ours = [each for each in caplog.records if each.name.startswith("plait")]
        logged = "\n".join(map(logging.Formatter().format, ours))
        told = repr((result.value, dict(result), events, [(error, vars(error), getattr(error, "__notes__", ()), error.__cause__) for error in errors]))  # fmt: skip
        assert shown_in((told + logged + "\n".join(result)).encode()) == []
        assert result["gives"].value["list"][0] == result.value["token"] == "[REDACTED]"
        assert result["each[[REDACTED]]"].value == "[REDACTED]"
        assert result["halves"].value == ["[REDACTED]"]
        assert result["file"].value == {"a": "[REDACTED][REDACTED]"}
        assert result["group"].value == {"inner": "[REDACTED]"}


FLOW = 'secrets: [TOKEN]\ntasks: {a: {run: "test \\"$T\\" = \\"$WANTED\\" && echo {{ secrets.TOKEN }}", env: {T: "{{ secrets.TOKEN }}"}}}\n'


class TestValues:
    def test_the_task_gets_the_value_and_the_run_does_not(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """D11"""
        monkeypatch.setenv("TOKEN", SECRET)
        monkeypatch.setenv("WANTED", SECRET)
        assert run(tmp_path, FLOW)["a"].value == "[REDACTED]"

    def test_missing_and_empty_ones_stop_the_run_before_its_first_task(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """D11: all at once, exit 2, nothing is stored."""
        text = "secrets: [GONE, EMPTY, TOKEN]\ntasks: {a: {run: touch ran, env: {T: '{{ secrets.GONE }}'}}}\n"
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("EMPTY", "")
        with pytest.raises(UsageError, match=r"needs the secrets GONE, EMPTY, TOKEN: set these variables"):
            run(tmp_path, text)
        done = cli(tmp_path, "run", "flow.yaml")
        assert (done.returncode, b"the secrets GONE, EMPTY:" in done.stderr) == (2, True)
        assert not (tmp_path / "ran").exists()
        assert b"no run" in cli(tmp_path, "ls").stdout + cli(tmp_path, "ls").stderr

    @pytest.mark.parametrize("words", [["validate"], ["inspect"], ["graph"], ["run", "-n"], ["run", "-n", "--json"]])
    def test_who_only_looks_needs_no_value_and_shows_none(self, tmp_path: Path, words: list[str]) -> None:
        write(tmp_path, 'env: {F: "{{ secrets.TOKEN }}"}\n' + FLOW)
        for secret in (None, SECRET):
            done = cli(tmp_path, words[0], "flow.yaml", *words[1:], secret=secret)
            assert done.returncode == 0, done.stderr.decode()
            assert shown_in(done.stdout + done.stderr) == []

    def test_an_input_that_holds_one_is_refused_without_saying_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """S30: inputs are stored."""
        monkeypatch.setenv("TOKEN", SECRET)
        text = "inputs: {x: {type: list, default: []}, n: {type: integer, default: 1}}\n" + FLOW
        with pytest.raises(UsageError, match="input 'x' holds the value of a secret") as caught:
            run(tmp_path, text, x=[{"a": f"<{SECRET}>"}])
        assert shown_in(str(caught.value).encode()) == []
        with pytest.raises(UsageError, match=r"not the text '\[REDACTED\]'"):
            run(tmp_path, text, n=SECRET)

    def test_another_file_sees_those_that_it_declares_itself(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """D11"""
        monkeypatch.setenv("TOKEN", SECRET)
        monkeypatch.setenv("OTHER", "another-secret-1")
        write(tmp_path, "tasks: {a: {run: 'echo {{ secrets.TOKEN }}'}}", "inner.yaml")
        with pytest.raises(FlowError, match="secret 'TOKEN' is not declared"):
            load(write(tmp_path, "secrets: [TOKEN]\ntasks: {f: {flow: inner.yaml}}"))
        write(tmp_path, "secrets: [OTHER]\ntasks: {a: {run: 'test {{ secrets.OTHER }} = another-secret-1; echo $?'}}", "inner.yaml")  # fmt: skip
        result = run(tmp_path, "tasks: {f: {flow: inner.yaml}, b: {run: 'echo another-secret-1'}}")
        assert result["f"].value == {"a": "0"}
        assert result["b"].value == "[REDACTED]"  # whoever of the run says it
        monkeypatch.delenv("OTHER")
        with pytest.raises(UsageError, match="needs the secret OTHER"):
            run(tmp_path, "tasks: {f: {flow: inner.yaml}}")

    def test_a_value_of_several_lines(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TOKEN", "-----BEGIN-----\nfirst-line-of-it\nsecond-line-of-it\n")
        text = (
            'secrets: [TOKEN]\ntasks: {a: {run: "printf %s \\"$T\\" | grep second", env: {T: "{{ secrets.TOKEN }}"}}}\n'
        )
        assert run(tmp_path, text)["a"].value == "[REDACTED]"

    def test_outputs_of_another_file_are_hidden_after_a_restart_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """S30: what joins is worked out again by whoever goes on."""
        monkeypatch.setenv("TOKEN", SECRET)
        monkeypatch.chdir(tmp_path)
        write(tmp_path, INNER, "inner.yaml")
        text = "secrets: [TOKEN]\ntasks:\n  f: {flow: inner.yaml}\n  b: {run: 'test -e there', needs: [f]}\noutputs: {f: '{{ tasks.f.output }}', t: '{{ secrets.TOKEN }}'}\n"
        store = str(tmp_path / "plait.db")
        result = plait.run(load(write(tmp_path, text)), store=store, run_id="r", raise_on_failure=False)
        assert result["b"].status == "failed"
        write(tmp_path, "", "there")
        result = plait.retry("r", store=store).wait(30)
        assert result.value == {"f": {"a": "[REDACTED][REDACTED]"}, "t": "[REDACTED]"}
        assert result["f"].value == {"a": "[REDACTED][REDACTED]"}
        monkeypatch.delenv("TOKEN")
        assert plait.resume("r", store=store).wait(30).value["t"] == "[REDACTED]"  # it is over: nobody needs a value
        with pytest.raises(UsageError, match="run r needs the secret TOKEN"):
            plait.fork("r", "b", store=store)
        assert shown_on_disk(tmp_path) == []

    @pytest.mark.realtime
    def test_an_answer_that_holds_one_is_kept_without(self, tmp_path: Path) -> None:
        """S30: the note that another process leaves, and what is on record of it."""
        write(tmp_path, "secrets: [TOKEN]\ntasks: {a: {ask: 'What?'}, b: {run: 'echo {{ tasks.a.output }}'}}\n")
        assert cli(tmp_path, "run", "flow.yaml").returncode == 3
        assert cli(tmp_path, "answer", "last", "a", f"it is {SECRET}").returncode == 0
        assert shown_on_disk(tmp_path) == []
        done = cli(tmp_path, "resume", "last", "--json")
        assert json.loads(done.stdout)["tasks"]["b"]["value"] == "it is [REDACTED]"
        assert shown_on_disk(tmp_path) == []


class TestWhatCommandsWrite:
    """S30: through a pipe with a filter, into the log file."""

    def made(self, folder: Path, script: str) -> Any:
        text = f"secrets: [TOKEN]\ntasks: {{a: {{run: {json.dumps(script)}}}}}\n"
        flow = load(write(folder, text))
        return plait.run(flow, store=str(folder / "plait.db"), run_id="r", raise_on_failure=False)["a"]

    def logs(self, folder: Path) -> dict[str, bytes]:
        return {each.suffix: each.read_bytes() for each in (folder / "logs" / "r").iterdir()}

    def test_is_in_its_files_for_the_owner_alone_and_an_empty_one_is_not_left(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TOKEN", "hunter2hunter2")
        assert self.made(tmp_path, "echo x; echo hunter2hunter2").value == "x\n[REDACTED]"
        assert self.logs(tmp_path) == {".out": b"x\n[REDACTED]\n"}
        assert [each.stat().st_mode & 0o777 for each in (tmp_path / "logs" / "r").iterdir()] == [0o600]

    def test_what_may_begin_a_secret_is_told_at_the_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TOKEN", "hunter2hunter2")
        assert self.made(tmp_path, "printf 'to hunt'; printf hunt >&2").value == "to hunt"
        assert self.logs(tmp_path) == {".out": b"to hunt", ".err": b"hunt"}

    @pytest.mark.realtime
    def test_who_holds_the_output_of_a_command_that_is_over_holds_nobody_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TOKEN", "hunter2hunter2")
        outcome = self.made(tmp_path, "setsid sh -c 'sleep 20; echo late' & printf 'to hunt'")
        assert outcome.value == "to hunt"  # what was held is told, though the pipe has no end
        assert outcome.run_s is not None
        assert outcome.run_s < 10

    def test_more_than_a_pipe_holds_comes_whole(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TOKEN", "hunter2hunter2")
        script = "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789 hunter2hunter2 $i; i=$((i+1)); done"
        lines = self.made(tmp_path, script).value.splitlines()
        assert len(lines) == 3000
        assert lines[2999] == "0123456789012345678901234567890123456789 [REDACTED] 2999"
        assert self.logs(tmp_path)[".out"].count(b"[REDACTED]") == 3000

    def test_a_disk_that_is_full_takes_the_log_and_not_the_value(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        from plait.executors import outputs

        def full(fd: int, data: bytes) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setenv("TOKEN", "hunter2hunter2")
        monkeypatch.setattr(outputs, "_write", full)
        assert self.made(tmp_path, "echo x hunter2hunter2").value == "x [REDACTED]"
        assert "is not kept any further" in caplog.text


class TestEnvironment:
    def test_commands_do_not_inherit_the_variables_of_secrets(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """S31: only `env` hands one over."""
        monkeypatch.setenv("TOKEN", SECRET)
        monkeypatch.setenv("SEEN", "yes")
        text = """
secrets: [TOKEN]
tasks:
  plain: {run: 'echo "${TOKEN-none} $SEEN"'}
  folder: {run: 'echo "${TOKEN-none} $SEEN"', cwd: /}
  given: {run: 'echo "${#TOKEN} $SEEN"', env: {TOKEN: "{{ secrets.TOKEN }}"}}
"""
        result = run(tmp_path, text)
        assert result["plain"].value == result["folder"].value == "none yes"
        assert result["given"].value == f"{len(SECRET)} yes"
        assert run(tmp_path, "tasks: {a: {run: 'echo ${TOKEN-none}'}}")["a"].value != "none"  # it is no secret here

    def test_no_command_line_has_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """S30: what `ps` shows of every process."""
        monkeypatch.setenv("TOKEN", SECRET)
        text = """
secrets: [TOKEN]
tasks:
  a: {run: 'true {{ secrets.TOKEN }}; cat /proc/$$/cmdline | tr "\\\\0" " "; tr "\\\\0" "\\\\n" < /proc/$PPID/cmdline'}
"""
        said = run(tmp_path, text)["a"].value
        assert "PLAIT_VALUE_0" in said
        assert "[REDACTED]" not in said


class TestValidation:
    @pytest.mark.parametrize(
        ("text", "code", "says"),
        [
            ("secrets: X\n", "type", "secrets must be a list of names"),
            ("secrets: [1]\n", "value", "a secret is named as a variable"),
            ("secrets: ['A-B']\n", "value", "a secret is named as a variable"),
            ("secrets: [TOKEN, TOKEN]\n", "duplicate-key", "declared twice"),
            ("R: echo {{ secrets.TOKE }}", "unknown-secret", "secret 'TOKE' is not declared under `secrets:`. Did you mean 'TOKEN'?"),
            ("R: echo {{ secrets }}", "unknown-secret", "must stand in the text"),
            ("R: echo {{ secrets[inputs.i] }}", "unknown-secret", "must stand in the text"),
            ("R: echo {{ raw(secrets.TOKEN) }}", "secret", "a script as it stands"),
            ("R: [echo, '{{ secrets.TOKEN }}']", "secret", "the words of a command"),
            ("R: [echo, '--x={{ env.T }}']", "secret", "secret 'TOKEN' may not be in the words of a command"),
            ("R: [echo, '{{ env }}']", "secret", "the words of a command"),
            ("R: x, cwd: '/tmp/{{ secrets.TOKEN }}'", "secret", "a folder"),
            ("R: x, foreach: [1], key: '{{ secrets.TOKEN }}'", "secret", "a key"),
            ("R: x, foreach: ['{{ secrets.TOKEN }}']", "secret", "items, which are stored"),
            ("R: x, matrix: {a: ['{{ secrets.TOKEN }}']}", "secret", "a matrix"),
            ("R: x, matrix: {a: [1], include: [{a: '{{ secrets.TOKEN }}'}]}", "secret", "a matrix"),
            ("R: x, concurrency_key: '{{ secrets.TOKEN }}'", "secret", "what a task takes"),
            ("R: x, cost: '{{ len(secrets.TOKEN) }}'", "secret", "what a task takes"),
            ("R: x, writes: ['{{ secrets.TOKEN }}']", "secret", "what a task takes"),
            ("R: x, reads: '{{ env.T }}'", "secret", "what a task takes"),
            ("flow: inner.yaml, with: {x: '{{ secrets.TOKEN }}'}", "secret", "inputs of another file"),
        ],
    )  # fmt: skip
    def test_where_none_may_be_and_what_is_none(self, tmp_path: Path, text: str, code: str, says: str) -> None:
        """S30, D11: what becomes a name, is stored, or is seen by all; undeclared names with the nearest one."""
        write(tmp_path, "inputs: {x: {type: string}}\ntasks: {a: {run: 'echo {{ inputs.x }}'}}", "inner.yaml")
        if text.startswith("secrets:"):
            whole = text + "tasks: {a: {run: echo}}\n"
        else:
            task = text.replace("R:", "run:", 1) if text.endswith((")", "]", "'", "}")) else text
            whole = f"secrets: [TOKEN]\ninputs: {{i: {{type: string}}}}\nenv: {{T: '{{{{ secrets.TOKEN }}}}'}}\ntasks:\n  a: {{{_quoted(task)}}}\n"
        found = problems(write(tmp_path, whole))
        assert [(each[2], says in each[3]) for each in found if each[2] != "unused-input"] == [(code, True)], found

    def test_the_place_is_that_of_the_name(self, tmp_path: Path) -> None:
        path = write(tmp_path, "secrets: [TOKEN]\ntasks:\n  a:\n    run: [echo, 'x {{ secrets.TOKEN }}']\n")
        ((line, column, code, says),) = problems(path)
        assert (line, column, code) == (4, 23, "secret")
        assert 'hand it over as a variable: `env: {TOKEN: "{{ secrets.TOKEN }}"}`' in says

    def test_where_one_may_be(self, tmp_path: Path) -> None:
        load(write(tmp_path, """
            secrets: [TOKEN]
            env: {T: "{{ secrets.TOKEN }}"}
            tasks:
              a: {run: "echo {{ secrets.TOKEN }}", env: {X: "{{ env.T }}"}, when: "{{ len(secrets.TOKEN) > 3 }}"}
              b: {call: "m:f", with: {x: ["{{ secrets.TOKEN }}"]}}
              c: {http: {url: "https://x.example/{{ secrets.TOKEN }}", headers: {A: "{{ secrets.TOKEN }}"}}}
              d: {ask: "{{ secrets.TOKEN }}?"}
            outputs: {t: "{{ secrets.TOKEN }}"}
            """))  # fmt: skip


def _quoted(task: str) -> str:
    """A task in flow style, its script in double quotes."""
    if task.startswith("run: echo"):
        return f'run: "{task.removeprefix("run: ")}"'
    return task
