"""Every example and every code block of the docs runs, and says what it says."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from faults import unavailable

pytestmark = pytest.mark.realtime

ROOT = Path(__file__).parents[1]
PLAIT = [sys.executable, "-m", "plait"]


def output(*words: str, cwd: Path) -> str:
    done = subprocess.run(words, capture_output=True, text=True, cwd=cwd, timeout=110)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_audit_counts_compiles_and_joins_and_a_file_that_does_not_parse_stops_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "lib"
    (folder / "pack").mkdir(parents=True)
    (folder / "one.py").write_text(
        "import os\nimport pack.two\n\ndef f(): pass\nclass A:\n    async def g(self): pass\n"
    )
    (folder / "pack" / "__init__.py").write_text("from . import two\n")
    (folder / "pack" / "two.py").write_text("from one import f\n" * 3)
    (folder / "broken.py").write_text("print 'two'\n")
    shown = output(
        *PLAIT,
        "run",
        str(ROOT / "examples/stdlib_audit/audit.yaml"),
        "-i",
        f"folder={folder}",
        "-i",
        "out=report",
        cwd=tmp_path,
    )
    assert (
        shown
        == "report: report/audit.md\njson: report/audit.json\nsummary: 4 modules, 10 lines, 3 imports between them, 1 do not compile\n"
    )
    audit = json.loads((tmp_path / "report" / "audit.json").read_text())
    assert audit["total"] == {
        "modules": 4, "lines": 10, "functions": 2, "classes": 1, "imports": 3, "do_not_compile": ["broken"], "do_not_parse": ["broken"],
    }  # fmt: skip
    modules = {module["name"]: module for module in audit["modules"]}
    assert modules["one"]["imports"] == ["pack.two"]
    assert modules["pack"]["imports"] == ["pack.two"]
    assert modules["pack.two"]["imports"] == ["one"]
    assert "| one | 6 | 2 | 1 | 1 | 1 |" in (tmp_path / "report" / "audit.md").read_text()


def test_the_licences(tmp_path: Path) -> None:
    shown = output(*PLAIT, "run", str(ROOT / "examples/licences.yaml"), cwd=tmp_path)
    assert re.fullmatch(r"longest: \d+ [0-9a-f]{12} /usr/share/common-licenses/\S+\n", shown)


def test_the_report_is_done_again_published_and_the_next_one_rejected(tmp_path: Path) -> None:
    """A18 E7: the story of the page on people: what is shown there is said here."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    page = (ROOT / "docs/people.md").read_text()
    assert (ROOT / "examples/publish.yaml").read_text().split("\nname: ")[1] in page

    def said(code: int, *words: str) -> None:
        done = subprocess.run(
            [*PLAIT, *words], capture_output=True, text=True, cwd=tmp_path, timeout=60, stdin=subprocess.DEVNULL
        )
        assert done.returncode == code, done.stderr
        for line in (done.stderr + done.stdout).splitlines():
            if not re.search(r": (ok|waits|FAILED|cancelled)", line):
                assert _rough(line) in _rough(page)

    (tmp_path / "files").mkdir()
    for name in range(14):
        (tmp_path / "files" / str(name)).touch()
    run = ("run", "examples/publish.yaml", "-i", "folder=files", "--run-id")
    said(3, *run, "friday")
    said(2, "answer", "last", "channel", "fax")
    said(0, "answer", "last", "channel", "mail")
    said(0, "answer", "last", "review", "revise", "say", "whose", "they", "are")
    said(3, "resume", "last")
    said(0, "answer", "last", "review", "approve")
    said(0, "resume", "last")
    said(3, *run, "monday")
    said(0, "answer", "monday", "review", "reject", "not", "this", "week", "--as", "anna")
    said(1, "resume", "monday")


def _rough(text: str) -> str:
    """Without what differs from one time to the next."""
    return (
        re.sub(r"[\d.]+ s|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "...", text)
        .replace("friday", "RUN")
        .replace("monday", "RUN")
    )


def test_the_first_graph(tmp_path: Path) -> None:
    assert (
        output(sys.executable, str(ROOT / "examples/first_graph.py"), cwd=tmp_path)
        == "10 words on 5 pages\n[0, 1, 4, 9, 16]\n"
    )


def test_the_crawler_is_never_too_fast_and_waits_where_it_is_told_to(tmp_path: Path) -> None:
    """X5 B8: a site that counts; a 429 slows all down, and every page is there once."""
    shown = output(sys.executable, str(ROOT / "examples/crawl.py"), cwd=tmp_path).splitlines()
    assert shown[0] == "300 of 300 pages, each once: True"
    assert shown[1] == "never faster than the site allows: True; at most 8 connections"
    assert shown[2] == "3 answers were 429, and 3 pages were asked again; succeeded"
    assert shown[3].startswith("303 requests in ")


def test_the_review_ends_when_it_is_decided_and_the_release_when_a_critical_check_fails(tmp_path: Path) -> None:
    """X12 E5 B16: what is printed stands in the guide."""
    shown = output(sys.executable, str(ROOT / "examples/review.py"), cwd=tmp_path)
    assert shown in (ROOT / "docs/guide.md").read_text()


def test_the_sweep_names_the_best_and_goes_on_after_settings_that_fail(tmp_path: Path) -> None:
    if importlib.util.find_spec("sklearn") is None:
        unavailable("scikit-learn")
    shown = output(sys.executable, str(ROOT / "examples/sweep.py"), "--small", "--compare", cwd=tmp_path)
    lines = shown.splitlines()
    assert lines[0].split() == ["nu", "gamma", "accuracy", "std"]
    assert [line.split()[:2] for line in lines[1:3]] == [["0.05", "0.1"], ["0.05", "0.01"]]
    assert lines[3:6] == [
        "nu=1.0 gamma=0.01 failed: specified nu is infeasible",
        "nu=1.0 gamma=0.1 failed: specified nu is infeasible",
        "best: nu=0.05 gamma=0.1",
    ]
    assert re.fullmatch(r"4 settings in [\d.]+ s, the start of the workers included \(\d+ CPUs\)", lines[6])
    assert re.fullmatch(r"one after another: [\d.]+ s, the same best; speed-up [\d.]+", lines[7])


def test_the_sweep_says_in_a_line_that_scikit_learn_is_missing(tmp_path: Path) -> None:
    program = "import runpy, sys; sys.modules['sklearn'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", program, str(ROOT / "examples/sweep.py")], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "this example needs scikit-learn: pip install scikit-learn\n"


# The folders and functions of the library that `build_c.py` builds, in a few lines: what is compressed is left as it is.
LIBRARY = {
    "c/include/brotli/decode.h": """
        #include <stddef.h>
        #include <stdint.h>
        #define BROTLI_DECODER_RESULT_SUCCESS 1
        int BrotliDecoderDecompress(size_t, const uint8_t *, size_t *, uint8_t *);
        uint32_t BrotliDecoderVersion(void);
    """,
    "c/include/brotli/encode.h": """
        #include <stddef.h>
        #include <stdint.h>
        #define BROTLI_MODE_TEXT 1
        int BrotliEncoderCompress(int, int, int, size_t, const uint8_t *, size_t *, uint8_t *);
    """,
    "c/common/copy.c": """
        #include <string.h>
        void copied(size_t from, const void *data, size_t *to, void *into) { memcpy(into, data, from); *to = from; }
    """,
    "c/common/version.c": "#include <brotli/decode.h>\nuint32_t BrotliDecoderVersion(void) { return 0x01002003; }\n",
    "c/dec/copy.c": """
        #include <brotli/decode.h>
        void copied(size_t, const void *, size_t *, void *);
        int BrotliDecoderDecompress(size_t from, const uint8_t *data, size_t *to, uint8_t *into) {
            copied(from, data, to, into);
            return BROTLI_DECODER_RESULT_SUCCESS;
        }
    """,
    "c/enc/copy.c": """
        #include <brotli/encode.h>
        void copied(size_t, const void *, size_t *, void *);
        int BrotliEncoderCompress(int q, int w, int m, size_t from, const uint8_t *data, size_t *to, uint8_t *into) {
            copied(from, data, to, into);
            return 1;
        }
    """,
}


def build_c(folder: Path, files: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """`build_c.py` on a source distribution of these files, which takes no network."""
    if shutil.which("gcc") is None or shutil.which("make") is None:
        unavailable("gcc or make")
    for name, text in files.items():
        path = folder / "little-1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with tarfile.open(folder / "little-1.tar.gz", "w:gz") as archive:
        archive.add(folder / "little-1", "little-1")
    program = [
        sys.executable,
        str(ROOT / "examples/build_c.py"),
        "--sdist",
        "little-1.tar.gz",
        "--out",
        "built",
        "-j",
        "2",
    ]
    return subprocess.run([*program, *words], capture_output=True, text=True, cwd=folder, timeout=110)


def test_the_build_compiles_joins_and_tries_a_library(tmp_path: Path) -> None:
    done = build_c(tmp_path, LIBRARY)
    library = tmp_path / "built" / "brotli-build" / "plait" / "libbrotli.a"
    said = f"Brotli 1.2.3: 100000 bytes, compressed to 100000, and back\n{library}: 4 files in "
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(said)
    listed = output("ar", "t", str(library), cwd=tmp_path).split()
    assert sorted(listed) == ["common_copy.o", "common_version.o", "dec_copy.o", "enc_copy.o"]


def test_the_build_compares_itself_with_make(tmp_path: Path) -> None:
    done = build_c(tmp_path, LIBRARY, "--compare")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:6]] == ["plait", "make"] * 3
    assert all(line.endswith("Brotli 1.2.3: 100000 bytes, compressed to 100000, and back") for line in lines[:6])
    assert re.fullmatch(
        r"plait: median [\d.]+ s \(n=3, -j 2\)\nmake: median [\d.]+ s \(n=3, -j 2\)", "\n".join(lines[6:])
    )


def test_a_file_that_does_not_compile_is_named_with_what_gcc_said_and_the_others_are_compiled(tmp_path: Path) -> None:
    done = build_c(tmp_path, LIBRARY | {"c/dec/broken.c": "int wrong(void) { return nothing; }\n"})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("dec_broken: ")
    assert re.search(r"broken\.c:1:\d+: error: ", done.stderr)
    assert done.stderr.endswith("4 succeeded, 1 failed, 3 upstream_failed\n")


def test_the_build_says_in_a_line_what_is_missing(tmp_path: Path) -> None:
    words = [sys.executable, str(ROOT / "examples/build_c.py"), "--sdist", "none.tar.gz", "--out", str(tmp_path)]
    done = subprocess.run(words, env={"PATH": str(tmp_path)}, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "gcc is not installed\n")
    done = build_c(tmp_path, {"README": "no library"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(" holds no c/common/*.c: it is not brotli\n")


def blocks() -> list[tuple[str, str, str]]:
    """Python blocks of README and docs, each with the text block that follows as its output."""
    found = []
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = page.read_text()
        for number, match in enumerate(re.finditer(r"```python\n(.*?)```(?:\s*```text\n(.*?)```)?", text, re.S)):
            found.append((f"{page.relative_to(ROOT)}[{number}]", match[1], match[2] or ""))
    return found


@pytest.mark.parametrize(("name", "code", "shown"), blocks(), ids=[name for name, _, _ in blocks()])
def test_code_blocks_of_the_docs_run_and_print_what_they_say(tmp_path: Path, name: str, code: str, shown: str) -> None:
    """B20: the guide among them: when parallel, when in sequence, when speculative."""
    assert output(sys.executable, "-W", "error", "-c", code, cwd=tmp_path) == shown


def file_blocks(fence: str) -> list[tuple[str, str]]:
    """Whole workflow files in README and docs, behind that fence."""
    pages = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    return [
        (f"{page.relative_to(ROOT)}[{number}]", match[1])
        for page in pages
        for number, match in enumerate(re.finditer(rf"```{fence}\n(.*?)```", page.read_text(), re.S))
    ]


def yaml_blocks() -> list[tuple[str, str]]:
    return file_blocks("yaml")


@pytest.mark.parametrize(("name", "text"), file_blocks("flow"), ids=[name for name, _ in file_blocks("flow")])
def test_flowscript_files_of_the_docs_run(tmp_path: Path, name: str, text: str) -> None:
    """D8: none of them needs a server, or a person."""
    (tmp_path / "docs.flow.md").write_text(text)
    for words in (["validate", "--strict"], ["run"]):
        done = subprocess.run(
            [*PLAIT, *words, "docs.flow.md"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=110,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("name", "text"), yaml_blocks(), ids=[name for name, _ in yaml_blocks()])
def test_workflow_files_of_the_docs_run(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "flow.yaml").write_text(text)
    named = re.search(r"^secrets: \[(.*?)\]", text, re.M)
    secrets = dict.fromkeys(named[1].split(", "), "a-secret-of-the-docs") if named else {}
    done = subprocess.run(
        [*PLAIT, "run", "flow.yaml"],
        env={**os.environ, **secrets},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=110,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == (3 if " ask:" in text else 0), done.stderr  # who is asked is not there
