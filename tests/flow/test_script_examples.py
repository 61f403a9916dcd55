"""The examples of FlowScript, run by the command line in processes of their own against a server that says what it was asked."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from answering_server import answer, data
from example_server import ExampleServer, by_model, echo
from model_server import KEY, completion, message, refusal, slow
from plait.flow.markup import read_markup
from plait.flow.problems import Problems

pytestmark = pytest.mark.realtime

EXAMPLES = Path(__file__).parents[2] / "examples" / "flowscript"
FILES = sorted(EXAMPLES.glob("*.flow.md"))
SECRETS = {
    name: f"{name.lower()}-0123456789"
    for name in ("WEATHER_KEY", "SHOP_USER", "SHOP_PASSWORD", "SITE_TOKEN", "RATES_KEY", "CLIENT_ID", "CLIENT_SECRET")
} | dict.fromkeys(("OPENAI_API_KEY", "OPENROUTER_API_KEY", "ANTHROPIC_API_KEY"), KEY)
FAILED, WRONG, WAITING, TIMEOUT = 1, 2, 3, 124


@pytest.fixture
def server() -> Iterator[ExampleServer]:
    made = ExampleServer()
    yield made
    made.close()


@dataclass
class Folder:
    """A copy of the examples, in which they are run."""

    path: Path
    server: ExampleServer
    said: str = ""
    """What the last command wrote to standard error."""

    def plait(self, *words: str, code: int = 0, without: tuple[str, ...] = ()) -> str:
        """What a command writes to standard output; it must end with `code`."""
        urls = {
            "OPENAI_BASE_URL": self.server.url,
            "OPENROUTER_BASE_URL": self.server.url,
            "ANTHROPIC_BASE_URL": self.server.url,
        }
        given = {name: value for name, value in SECRETS.items() if name not in without}
        done = subprocess.run(
            [sys.executable, "-m", "plait", *words],
            capture_output=True,
            text=True,
            cwd=self.path,
            timeout=60,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "NO_COLOR": "1", **urls, **given},
        )
        self.said = done.stderr + done.stdout
        assert done.returncode == code, done.stderr + done.stdout
        for name, value in given.items():
            assert name.endswith("USER") or value not in done.stderr + done.stdout, f"{name} is shown"
        return done.stdout

    def run(self, name: str, *words: str, code: int = 0, **more: Any) -> dict[str, Any]:
        """A run, with what `--json` says of it."""
        base = () if name in LOCAL else ("--config", f"base={self.server.url}")
        shown = self.plait("run", f"{name}.flow.md", *base, "--json", "--run-id", "r", *words, code=code, **more)
        found: dict[str, Any] = json.loads(shown) if shown else {}
        return found

    def text(self, name: str) -> str:
        return (self.path / "out" / name).read_text()

    def json(self, name: str) -> Any:
        return json.loads(self.text(name))

    def rows(self, table: str, order: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.path / "shop.db") as connection:
            return connection.execute(f"SELECT * FROM {table} ORDER BY {order}").fetchall()

    def written(self) -> list[str]:
        """Every file under `out/`."""
        out = self.path / "out"
        return sorted(str(each.relative_to(out)) for each in out.rglob("*") if each.is_file())


LOCAL = {"sales", "letters", "search", "summary", "refine", "vote", "draft"}
"""Examples without a base URL."""


@pytest.fixture
def folder(tmp_path: Path, server: ExampleServer) -> Folder:
    shutil.copytree(EXAMPLES, tmp_path / "flowscript")
    connection = sqlite3.connect(tmp_path / "flowscript" / "shop.db")
    connection.executescript((EXAMPLES / "data" / "shop.sql").read_text())
    connection.close()
    return Folder(tmp_path / "flowscript", server)


# -- all of them


def test_the_examples_are_quiet_at_validation(folder: Folder) -> None:
    """D10: no problem and no warning."""
    said = folder.plait("validate", "--strict", *(each.name for each in FILES))
    assert said.splitlines() == [f"{each.name}: ok" for each in FILES]
    assert len(FILES) >= 18


@pytest.mark.parametrize("name", [each.name.removesuffix(".flow.md") for each in FILES])
def test_an_example_can_be_looked_at_and_nothing_is_done(folder: Folder, name: str) -> None:
    """D10: `inspect`, `graph` and a dry run of each."""
    before = sorted(folder.path.rglob("*"))
    base = () if name in LOCAL else ("--config", f"base={folder.server.url}")
    given = ("-i", "topic=rain") if name == "refine" else ()
    assert name in folder.plait("inspect", f"{name}.flow.md")
    folder.plait("graph", f"{name}.flow.md")
    folder.plait("run", f"{name}.flow.md", *base, *given, "-n")
    assert folder.server.asked == []
    assert sorted(folder.path.rglob("*")) == before


# -- each of them


def test_weather(folder: Folder) -> None:
    """D8: four cities at once, a busy and a broken server, what a fallback gives."""
    server = folder.server
    server.together["/v1/"] = 4
    server.answers = {
        "/v1/Oslo": [answer("busy", "503 Service Unavailable"), data({"temp": 31.5, "wind": "north"})],
        "/v1/Porto": data({"temp": 30}),
        "/v1/San%20Jos%C3%A9": data({"temp": 28, "wind": "west"}),
        "/v1/Lima": answer("no", "404 Not Found"),
        "/v1/Nuuk": answer("no", "500 Internal Server Error"),
    }
    folder.run("weather")
    assert folder.json("hot.json") == [
        {"city": "Oslo", "temp": 31.5, "wind": "north"},
        {"city": "Porto", "temp": 30, "wind": "calm"},
    ]
    assert server.most["/v1/"] == 4
    asked = [asked.path.split("?")[0] for asked in server.asked]
    assert sorted(asked) == sorted([*server.answers, "/v1/Oslo", *["/v1/Nuuk"] * 4])
    first = server.to("/v1/Porto")[0]
    assert first.headers["authorization"] == f"Bearer {SECRETS['WEATHER_KEY']}"
    assert first.headers["x-number"] == "1"
    assert first.path.partition("?")[2] == "country=PT&fields=temp&fields=wind"


def test_weather_where_it_is_cold(folder: Folder) -> None:
    """D8: the other side of the condition, by a limit from the command line; a text that is no number is refused."""
    folder.server.answers = {"/": data({"temp": 30})}
    folder.run("weather", "--config", "limit=30.5")
    assert folder.text("calm.txt").strip() == "Nowhere is it 30.5 degrees; 0 of 5 did not answer."
    assert folder.written() == ["calm.txt"]
    folder.plait("run", "weather.flow.md", "--config", "base=x", "--config", "limit=warm", code=WRONG)
    assert "limit" in folder.said


def test_what_is_missing_is_told_before_anything_is_done(folder: Folder) -> None:
    """D11: secrets, config and input: exit code 2, no request."""
    folder.plait("run", "weather.flow.md", code=WRONG)
    assert "'base'" in folder.said
    folder.run("weather", code=WRONG, without=("WEATHER_KEY",))
    assert "WEATHER_KEY" in folder.said
    folder.run("reuse", code=WRONG, without=("RATES_KEY",))
    folder.run("refine", code=WRONG)
    assert "topic" in folder.said
    folder.run("refine", "-i", "topic=[1]", "-i", "tone=high", code=WRONG)
    folder.run("pages", "-i", "kind=song", code=WRONG)
    assert folder.server.asked == []
    assert not (folder.path / "out").exists()


def test_pages(folder: Folder) -> None:
    """D8: a request for each page, until there is no next one; what the body set is there behind the loop."""
    pages: dict[str, Any] = {
        "first": {"items": [{"id": 1, "title": "Ox", "more": 1}, {"id": 2, "title": "Elk"}], "next": "p2"},
        "p2": {"items": [{"id": 3, "title": "Cow"}], "next": "p3"},
        "p3": {"items": [], "next": None},
    }
    folder.server.answers = {"/items": lambda asked: data(pages[asked.path.split("cursor=")[1].split("&")[0]])(asked)}
    found = folder.run("pages", "-i", "kind=film")
    assert [asked.path for asked in folder.server.asked] == [
        f"/items?kind=film&cursor={cursor}&size=2" for cursor in pages
    ]
    assert found["outputs"] == ["OX", "ELK", "COW"]


def test_poll(folder: Folder) -> None:
    """D8: asked until it is ready."""
    folder.server.answers = {
        "/jobs": data({"id": "j7"}),
        "/jobs/j7": [data({"state": "waits"}), data({"state": "works"}), data({"state": "ready", "url": "/p.png"})],
    }
    folder.run("poll")
    assert folder.text("job.yaml") == "state: ready\nurl: /p.png\n"
    assert [asked.path for asked in folder.server.asked] == ["/jobs", *["/jobs/j7"] * 3]
    first = folder.server.asked[0]
    assert (first.method, first.headers["idempotency-key"]) == ("POST", "render-1")
    assert first.headers["content-type"] == "application/json"
    assert json.loads(first.body) == {
        "what": "poster",
        "size": {"width": 640, "height": 480},
        "layers": ["sky", "hills"],
    }


def test_poll_that_takes_too_long(folder: Folder) -> None:
    """D8: `on-timeout`, and the request that was under way is ended."""
    folder.server.answers = {"/jobs": data({"id": "j7"}), "/jobs/j7": slow}
    folder.run("poll", "--config", "patience=1s")
    assert folder.text("job.yaml") == "state: given up\nurl: null\n"
    assert folder.server.left.wait(10)


def test_stock(folder: Folder) -> None:
    """D1 D8: two branches at once, a fallback that looks at the failure, a failure that is only recorded."""
    folder.server.together["/stock/"] = 2
    folder.server.answers = {
        "/stock/north": data({"count": 5}),
        "/stock/south": answer("down", "503 Service Unavailable"),
        "/stock/west": answer("gone", "410 Gone"),
    }
    folder.run("stock")
    assert folder.json("stock.json") == {"all": 6, "failed": ["failed"], "north": 5, "south": 1, "west": 0}
    assert folder.server.most["/stock/"] == 2
    north = folder.server.to("/stock/north")[0]
    assert north.headers["authorization"].startswith("Basic ")
    assert len(folder.server.asked) == 3


def test_stock_where_the_fallback_does_not_serve(folder: Folder) -> None:
    """D8: exit code 1, the node and the status are named, nothing is written."""
    folder.server.answers = {"/": data({"count": 5}), "/stock/south": answer("no", "403 Forbidden")}
    folder.run("stock", code=FAILED)
    assert "south-stock" in folder.said
    assert "403" in folder.said
    assert folder.written() == []


def test_sales(folder: Folder) -> None:
    """D8: from a CSV file to a table and a report; again, the table is the same."""
    report = (
        "# Sales (paid)\n\nLima: 240 (1)\nOslo: 120.5 (1)\nPorto: 35.25 (1)\n\n"
        "3 orders, 395.75 in all, 131.92 each; best: Lima.\nWrite {{name}} where a name is to be filled in."
    )
    found = folder.run("sales")
    assert folder.text("sales.md").strip() == report
    rows = folder.rows("orders", "id")
    assert len(rows) == 6
    assert rows[5] == (6, 'Eve "E" Moss', "Porto", 35.25, "paid", 7)
    with (folder.path / "out" / "columns.csv").open(newline="") as file:
        assert list(csv.DictReader(file))[2] == {"id": "3", "city": "Oslo", "amount": "19.9"}
    assert found["status"] == "succeeded"
    shutil.rmtree(folder.path / ".plait")
    folder.run("sales", "--config", "status=open")
    assert "Porto: 80 (1)" in folder.text("sales.md")
    assert folder.rows("orders", "id") == rows


def test_publish_waits_for_a_person(folder: Folder) -> None:
    """D8 E7: exit code 3, the answer from another process, then it goes on; other work was done meanwhile."""
    folder.server.answers = {"/": echo(ok=True)}
    folder.run("publish", code=WAITING)
    assert "Publish Release 2.4 (" in folder.said
    assert "quiet: publish, say nothing" in folder.said
    assert folder.server.asked == []
    folder.plait("answer", "r", "review", "maybe", code=WRONG)
    folder.plait("answer", "r", "review", "approve", "well", "done")
    folder.plait("resume", "r", "--json")
    assert folder.server.bodies("/announcements") == [{"text": "Release 2.4 is out", "words": "well done"}]
    sent = folder.server.to("/pages/Release%202.4")[0]
    assert (sent.method, sent.headers["x-approved-by"]) == ("PUT", "approve")
    assert sent.headers["authorization"] == f"Bearer {SECRETS['SITE_TOKEN']}"
    assert json.loads(sent.body)["text"].startswith("# Release 2.4")


def test_publish_that_skips_and_publish_that_is_rejected(folder: Folder) -> None:
    """D8: a goto forward leaves out what stands between; rejected is exit code 1."""
    folder.server.answers = {"/": echo(ok=True)}
    folder.run("publish", code=WAITING)
    folder.plait("answer", "r", "review", "quiet")
    folder.plait("resume", "r")
    assert [asked.path for asked in folder.server.asked] == ["/pages/Release%202.4"]
    folder.plait("run", "publish.flow.md", "--config", f"base={folder.server.url}", "--run-id", "s", code=WAITING)
    folder.plait("answer", "s", "review", "reject", "too", "early")
    folder.plait("resume", "s", code=FAILED)
    assert "rejected" in folder.said
    assert len(folder.server.asked) == 1


def test_publish_that_is_approved_beforehand(folder: Folder) -> None:
    """D8: `--approve`."""
    folder.server.answers = {"/": echo(ok=True)}
    folder.run("publish", "--approve", "review")
    assert len(folder.server.asked) == 2


def test_summary(folder: Folder) -> None:
    """D8 S50: a tool that is forced, and asked again with the reasons for a bad answer."""
    bad = {"title": "2.4", "points": "fast"}
    good = {"title": "Release 2.4", "points": ["fast imports", "a < b"], "mood": "glad"}
    folder.server.answers = {
        "/chat/completions": [completion(None, ("output", bad)), completion(None, ("output", good))]
    }
    folder.run("summary")
    assert folder.text("summary.md").strip() == "# Release 2.4\n- fast imports\n- a < b\n(glad)"
    first, second = folder.server.bodies("/chat/completions")
    assert (first["model"], first["temperature"]) == ("gpt-4o-mini", 0.2)
    assert first["messages"][0] == {"role": "system", "content": "You sum up release notes for busy people."}
    assert "say <none> where" in first["messages"][1]["content"]
    assert 'takes `a < b` and "quoted words"' in first["messages"][1]["content"]
    assert first["tool_choice"] == {"type": "function", "function": {"name": "output"}}
    schema = first["tools"][0]["function"]["parameters"]
    assert schema["properties"]["mood"]["enum"] == ["glad", "neutral", "sad"]
    assert sorted(schema["required"]) == ["mood", "points", "title"]
    assert "mood" in json.dumps(second["messages"][2:])
    assert folder.server.asked[0].headers["authorization"] == f"Bearer {KEY}"


def test_summary_that_never_fits(folder: Folder) -> None:
    """D8: as often as `max-retries` says, then it fails."""
    folder.server.answers = {"/chat/completions": completion(None, ("output", {"title": 1}))}
    folder.run("summary", code=FAILED)
    assert "summary" in folder.said
    assert len(folder.server.asked) == 3


def test_refine(folder: Folder) -> None:
    """D8: rounds until the judge is content; each draft is told what the last judge said."""
    said = by_model(
        {
            "claude-sonnet-4-5": message("It rains."),
            "claude-haiku-4-5": lambda asked: scores.pop(0)(asked),
        }
    )
    scores = [message(None, ("output", each)) for each in ({"score": 3, "advice": "longer"}, {"score": 9})]
    folder.server.answers = {"/v1/messages": said}
    folder.run("refine", "-i", "topic=rain")
    assert folder.text("text.md") == "It rains."
    assert folder.json("scores.json") == [3, 9]
    drafts = [each for each in folder.server.bodies("/v1/messages") if "sonnet" in each["model"]]
    asked = [json.dumps(each["messages"]) for each in drafts]
    assert len(asked) == 2
    assert "try 1" in asked[0]
    assert "Mind this" not in asked[0]
    assert "try 2" in asked[1]
    assert "Mind this: longer" in asked[1]
    assert (drafts[0]["system"], drafts[0]["max_tokens"]) == ("Write two sentences.", 600)
    assert any(KEY in each for each in folder.server.asked[0].headers.values())


def test_refine_ends_with_its_rounds(folder: Folder) -> None:
    """D8: `max` from the configuration; it is no failure."""
    folder.server.answers = {
        "/v1/messages": by_model(
            {"claude-sonnet-4-5": message("Rain."), "claude-haiku-4-5": message(None, ("output", {"score": 1}))}
        )
    }
    folder.run("refine", "-i", "topic=rain", "--config", "rounds=2")
    assert folder.json("scores.json") == [1, 1]
    assert len(folder.server.asked) == 4


def test_vote(folder: Folder) -> None:
    """D1 X12: two of three are enough, all three were asked at once, and the request of the third is ended."""
    yes, no = (completion(None, ("output", {"good": each})) for each in (True, False))
    folder.server.together["/chat"] = 3
    folder.server.answers = {"/chat/completions": by_model({"model-one": yes, "model-two": slow, "model-three": no})}
    folder.run("vote")
    assert folder.json("votes.json") == {"yes": 1, "of": 2}
    assert folder.server.left.wait(10)
    assert sorted(each["messages"][-1]["content"][:8] for each in folder.server.bodies("/chat")) == [
        f"Voter {number}:" for number in range(3)
    ]


def test_reuse(folder: Folder) -> None:
    """D8: an included file sees the config, a called one its arguments and its own secret alone."""
    folder.server.answers = {"/rates": data({"EUR": 0.5})}
    folder.run("reuse")
    clean, euros = folder.json("euros.json")
    assert [each["customer"] for each in clean] == ["dee", "ada", "bo", "ada"]
    assert clean[0] == {"customer": "dee", "amount": 240, "source": "csv"}
    assert euros == [120, 60.25, 40, 30]
    assert folder.server.asked[0].headers["x-key"] == SECRETS["RATES_KEY"]


def test_oauth(folder: Folder) -> None:
    """D8: one token for three requests at once; a worn one is renewed once."""
    folder.server.together["/members/"] = 3
    tokens = iter(["worn", "fresh"])
    folder.server.answers = {"/token": lambda asked: data({"access_token": next(tokens), "expires_in": 3600})(asked)}

    def member(number: int) -> Any:
        def said(asked: Any) -> bytes:
            if asked.headers["authorization"] != "Bearer fresh":
                return answer("worn", "401 Unauthorized")(asked)
            return data({"member": {"id": number, "name": f"m{number}"}})(asked)

        return said

    folder.server.answers |= {f"/members/{number}": member(number) for number in (1, 2, 3)}
    folder.run("oauth")
    assert folder.text("members.csv").split() == ["id,name", "1,m1", "2,m2", "3,m3"]
    assert len(folder.server.to("/token")) == 2
    assert b"scope=members.read" in folder.server.to("/token")[0].body
    assert len(folder.server.to("/members/")) == 6


def test_oauth_where_an_answer_does_not_fit(folder: Folder) -> None:
    """D8: `validate` names what is wrong."""
    folder.server.answers = {"/": data({"member": {"id": "one"}}), "/token": data({"access_token": "t"})}
    folder.run("oauth", code=FAILED)
    assert "validate" in folder.said


def test_sync(folder: Folder) -> None:
    """D8: batches, upsert, update, and a HEAD that is tried again."""
    changes = {
        "joined": [
            {"mail": "di@shop.example", "name": "Di", "plan": "free"},
            {"mail": "bo@shop.example", "name": "Bob"},
        ],
        "left": [{"mail": "cy@shop.example", "plan": "none", "tags": ["left"]}],
    }
    folder.server.answers = {"/changes": [answer("", "503 Service Unavailable"), answer(""), data(changes)]}
    folder.run("sync")
    assert folder.rows("people", "mail") == [
        ("ada@shop.example", "Ada", "gold", 2019, None),
        ("bo@shop.example", "Bob", "free", 2024, None),
        ("cy@shop.example", "Cy", "none", 2021, '["left"]'),
        ("di@shop.example", "Di", "free", None, None),
    ]
    assert [asked.method for asked in folder.server.asked] == ["HEAD", "HEAD", "GET"]
    assert folder.text("sync.txt").splitlines() == ["alive: success after 2", "inserted: 3", "error: none"]
    assert len(folder.json("people.json")) == 4


def test_sync_without_the_server(folder: Folder) -> None:
    """D8: `<continue/>`: the failure is on record, and what does not need the node goes on."""
    folder.server.answers = {"/changes": answer("", "404 Not Found")}
    folder.run("sync")
    assert [row[0] for row in folder.rows("people", "mail")] == [
        "ada@shop.example",
        "bo@shop.example",
        "cy@shop.example",
    ]
    assert folder.text("sync.txt").splitlines() == ["alive: failed after 1", "inserted: 3", "error: 404"]


def test_orders(folder: Folder) -> None:
    """D8: each order goes its way, two at once; names lead through phases."""
    folder.server.answers = {"/large": echo(status="sent"), "/reminders": echo()}
    folder.run("orders")
    assert folder.text("calm-day.txt").splitlines() == ["1 200!", "2 200!", "3 kept!", "4 200", "6 kept"]
    assert sorted(folder.server.bodies("/large"), key=lambda each: str(each["id"])) == [
        {"id": "1", "amount": 120.5},
        {"id": "4", "amount": 240},
    ]
    assert [each["customer"] for each in folder.server.bodies("/reminders")] == ["Bo"]
    large = folder.server.to("/large")[0]
    assert (large.headers["x-from"], large.headers["x-urgent"]) == ("desk", "true")


def test_limits(folder: Folder) -> None:
    """D8 X5: `Retry-After`, a fallback after the last try, a block that is too slow, a failure that is only recorded."""
    folder.server.answers = {
        "/busy": [refusal("429 Too Many Requests", retry_after="0"), data({"word": "here"})],
        "/broken": answer("", "500 Internal Server Error"),
        "/spare": data({"from": "spare"}),
        "/hangs": slow,
        "/missing": answer("", "404 Not Found"),
    }
    folder.run("limits", "--config", "patience=1s")
    assert folder.json("outcome.json") == {
        "busy": "here", "tries": 2, "broken": "spare", "news": ["nothing new"],
        "missing": "not there", "why": 404, "state": "failed",
    }  # fmt: skip
    assert len(folder.server.to("/broken")) == 3
    assert folder.server.to("/spare")[0].path == "/spare?because=500"
    assert len(folder.server.to("/missing")) == 1
    assert folder.server.left.wait(10)


def test_limits_where_the_last_fallback_serves(folder: Folder) -> None:
    """D8: the first fallback whose condition holds."""
    folder.server.answers = {
        "/": data({"word": "x"}),
        "/broken": answer("", "501 Not Implemented"),
    }
    folder.run("limits", "--config", "patience=1s")
    found = folder.json("outcome.json")
    assert (found["broken"], found["tries"], found["state"]) == ("nowhere", 1, "success")
    assert len(folder.server.to("/broken")) == 1


def test_letters(folder: Folder) -> None:
    """D9: text and JSON of templates, byte by byte."""
    folder.run("letters")
    assert folder.written() == [
        "index.json",
        *(f"letters/0{at}-{name}.txt" for at, name in enumerate(("ada", "bo", "cy"), 1)),
    ]
    assert folder.text("letters/01-ada.txt").strip() == (
        "Dear Ada,\n\nsince 2019 you have been with us: 70 of a decade.\nThank you & <welcome> to the club!\n"
        '{{unsubscribe}} {"name":"Ada","mail":"ada@shop.example","plan":"gold","since":2019}'
    )
    index, strict = folder.json("index.json")
    assert (index["day"], index["plans"]) == ("1 March 2026", {"gold": ["Ada", "Cy"], "free": ["Bo"]})
    assert index["files"][2] == "out/letters/03-cy.txt"
    assert strict == [3, True]


def test_search(folder: Folder) -> None:
    """D7: `continue`, and `break` out of two loops; variables outlive their round."""
    folder.run("search")
    assert folder.json("found.json") == {"place": "B1", "looked": 2, "shelves": 2, "sealed": [["A1."], []]}
    shutil.rmtree(folder.path / ".plait")
    folder.run("search", "--config", "part=gold")
    assert folder.json("found.json") == {"place": None, "looked": 4, "shelves": 3, "sealed": [["A1."], []]}


def test_draft(folder: Folder) -> None:
    """D8 A18: sent back, another one is written and asked about; a default that says no ends the run as rejected."""
    said = [completion("First."), completion("Second.")]
    folder.server.answers = {"/chat/completions": said}
    folder.run("draft", code=WAITING)
    assert "First. Good?" in folder.said
    folder.plait("answer", "r", "writing/said", "again", "shorter")
    folder.plait("resume", "r", code=WAITING)
    assert "Second. Good?" in folder.said
    folder.plait("answer", "r", "writing/said", "approve")
    folder.plait("resume", "r", code=FAILED)
    assert folder.text("draft.txt") == "Second."
    assert folder.written() == ["draft.txt"]
    assert len(folder.server.asked) == 2


def test_draft_that_is_not_to_be_printed(folder: Folder) -> None:
    """D8: a checkpoint whose condition does not hold asks nobody."""
    folder.server.answers = {"/chat/completions": completion("Fine.")}
    folder.run("draft", "--config", "print=false", "--approve", "writing/said")
    assert folder.written() == ["draft.txt", "print.txt"]


def test_mirrors(folder: Folder) -> None:
    """D1 X12: the first success of three counts, a failure is none, the slow one is ended."""
    folder.server.together["/mirror/"] = 3
    folder.server.answers = {
        "/mirror/one": answer("", "502 Bad Gateway"),
        "/mirror/two": slow,
        "/mirror/three": data({"name": "three"}),
    }
    folder.run("mirrors")
    assert folder.text("fastest-mirror.txt").splitlines()[:3] == ["three", "left", "# Release 2.4"]
    assert folder.server.left.wait(10)
    assert len(folder.server.asked) == 3


def test_mirrors_where_none_answers(folder: Folder) -> None:
    """D1: all errors are told."""
    folder.server.answers = {"/": answer("", "404 Not Found")}
    folder.run("mirrors", code=FAILED)
    assert all(name in folder.said for name in ("one", "two", "three"))


def test_nightly(folder: Folder) -> None:
    """E9: two at once, whatever a block allows, in the time that the run has."""
    folder.server.together["/copies/"] = 2
    folder.server.answers = {"/": echo(), "/count": data(6)}
    assert folder.run("nightly")["outputs"] == 6
    assert folder.server.most["/copies/"] == 2
    assert {asked.method for asked in folder.server.to("/copies/")} == {"PATCH"}
    assert sorted(each["number"] for each in folder.server.bodies("/copies/")) == list(range(6))


def test_nightly_that_takes_too_long(folder: Folder) -> None:
    """E9: exit code 124, and what was under way is ended."""
    folder.server.answers = {"/": echo(), "/count": slow}
    folder.run("nightly", code=TIMEOUT)
    assert folder.server.left.wait(10)


# -- the whole language


def test_every_element_and_attribute_stands_in_an_example() -> None:
    """D8: what the reference names, an example shows."""
    tags, fields = set(), set()
    for path in (*FILES, *sorted(EXAMPLES.glob("parts/*.flow.md"))):
        stack = [read_markup(path, Problems(str(path))).root]
        while stack:
            element = stack.pop()
            tags.add(element.tag)
            fields |= {f"{element.tag} {name}" for name in element.attributes}
            fields |= {f"{element.tag} {child.tag}" for child in element.children}
            stack.extend(element.children)
    elements = (
        "source transform sink ai parallel branch case default otherwise if then else loop while do foreach break continue set context "
        "phase delay timeout include call checkpoint condition action bind arg on-error retry fallback request response config "
        "source:http source:file sink:http sink:file"
    )
    assert tags >= {*elements.split()}
    wanted = {
        "source": "id type input path format method url timeout connection query params request response config required",
        "transform": "id type input expression condition initial reducer finalize template format model system user output-schema max-tokens temperature max-retries timeout",
        "ai": "model prompt output-schema max-tokens provider system",
        "sink": "id type input path format method url headers body auth connection table operation conflictColumns batch request config",
        "parallel": "max maxConcurrency wait merge branch",
        "loop": "max break",
        "while": "condition max do",
        "foreach": "collection item index concurrency",
        "break": "when loop",
        "continue": "when",
        "set": "var key value",
        "phase": "id name",
        "delay": "duration",
        "timeout": "duration on-timeout",
        "include": "workflow bind",
        "call": "workflow arg",
        "bind": "key value",
        "arg": "name value",
        "checkpoint": "prompt timeout default condition action input-type",
        "action": "id label goto",
        "retry": "max when backoff base jitter",
        "fallback": "node when",
        "on-error": "retry fallback continue",
        "if": "condition then else",
        "branch": "case default otherwise",
        "case": "when",
    }  # fmt: skip
    missing = [
        f"{tag} {name}" for tag, names in wanted.items() for name in names.split() if f"{tag} {name}" not in fields
    ]
    assert missing == []


# -- the tutorial


def test_the_tutorial(tmp_path: Path, server: ExampleServer) -> None:
    """D8 A18: its files and commands, from the first to the last, print what the page says."""
    page = (Path(__file__).parents[2] / "docs" / "tutorial-flowscript.md").read_text()
    long, short = (
        "Come to us, all of you, one day or another, for tea, cake, or both of them!",
        "Come for tea and cake!",
    )
    server.answers = {
        "/chat/completions": [completion(None, ("output", {"text": text, "mood": "warm"})) for text in (long, short)]
    }
    (tmp_path / "plait").write_text(f'#!/bin/sh\nexec {sys.executable} -m plait "$@"\n')
    (tmp_path / "plait").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": server.url,
    }
    shown = ""
    for match in re.finditer(r"(?:`(\S+)`:\n\n)?```(\w+)\n(.*?)```", page, re.DOTALL):
        name, kind, text = match.groups()
        if kind == "flowscript":
            (tmp_path / name).write_text(text)
        elif kind == "bash":
            done = subprocess.run(
                ["/bin/sh", "-ec", re.sub(r"(?m)^(cat .*)$", r"\1; echo", text)],
                capture_output=True,
                text=True,
                cwd=tmp_path,
                env=environment,
                timeout=60,
                stdin=subprocess.DEVNULL,
            )
            assert done.returncode == 0, done.stderr
            shown = done.stdout
        else:
            assert [line for line in shown.splitlines() if line] == text.splitlines()
    assert [len(each["messages"]) for each in server.bodies("/chat")] == [2, 2]
    assert "shorter" in server.bodies("/chat")[1]["messages"][1]["content"]


def test_every_example_is_listed() -> None:
    """D8: with what it says of itself."""
    listed = (EXAMPLES / "README.md").read_text()
    for path in FILES:
        words = path.read_text()
        description = re.search(r"^description: (.*)$", words, re.MULTILINE)
        shows = re.search(r"<!-- Shows: (.*?)\.? -->", words)
        assert description is not None
        assert shows is not None
        assert f"| [{path.name.removesuffix('.flow.md')}]({path.name}) | {description[1]} | {shows[1]} |" in listed
