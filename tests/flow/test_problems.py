"""What is told of a bad file: the line, a caret below it, a hint; harmless and short whatever the file holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from plait.errors import FlowError
from plait.flow import load
from plait.flow.excerpts import Excerpt, excerpt
from plait.flow.problems import MOST_WARNINGS, START, Place, Problem, Problems


def told(path: Path) -> list[str]:
    with pytest.raises(FlowError) as caught:
        load(path)
    return [line for problem in caught.value.problems for line in problem.lines()]


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "flow.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


class TestExcerpts:
    """S28: of one line of a file, whatever is in it."""

    @pytest.mark.parametrize(
        ("line", "column", "shown", "caret"),
        [
            ("run: x", 1, "run: x", 0),
            ("run: x", 6, "run: x", 5),
            ("run: x", 7, "run: x", 6),
            ("run: x", 99, "run: x", 6),
            ("", 1, "", 0),
            ("\trun:\tx", 7, "    run:    x", 12),
            ("日本: x", 5, "日本: x", 6),
            ("e\u0301: x", 5, "e\u0301: x", 3),
            ("a\x1b[2J\x07b\u202ec\u200b\x85d", 11, "a?[2J?b?c??d", 10),
        ],
    )
    def test_a_short_line_is_shown_whole_with_the_caret_under_its_column(
        self, line: str, column: int, shown: str, caret: int
    ) -> None:
        assert excerpt(line, column) == Excerpt(shown, caret)

    @pytest.mark.parametrize("each", ["x", "日", "\t", "\x1b", "\u0301"])
    @pytest.mark.parametrize(
        ("at", "starts", "ends"),
        [(0, 0, 1), (15, 0, 1), (150, 1, 1), (5_000, 1, 1), (99_998, 1, 0), (100_000, 1, 0)],
    )
    def test_a_long_line_is_cut_around_the_place(self, each: str, at: int, starts: int, ends: int) -> None:
        text, caret = excerpt(each * at + "#" + each * (100_000 - at), at + 1)
        before, after = text.split("#")
        width = {"日": 2, "\u0301": 0}.get(each, 1)
        assert caret == (len(before) if width == 1 else width * len(before.strip(".")) + before.count("."))
        assert caret + 1 + sum(1 if each in ".? x" else width for each in after) <= 106
        assert len(text) <= 220
        assert (before.startswith("..."), after.endswith("...")) == (bool(starts), bool(ends))
        assert "\x1b" not in text

    def test_the_end_of_a_long_line_shows_as_much_as_fits_before_it(self) -> None:
        assert excerpt("x" * 500 + "{", 501) == Excerpt("..." + "x" * 99 + "{", 102)
        assert excerpt("{" + "x" * 500, 1) == Excerpt("{" + "x" * 99 + "...", 0)


class TestLines:
    def test_a_finding_is_its_line_the_line_of_the_file_a_caret_and_a_hint(self, tmp_path: Path) -> None:
        """D10."""
        path = write(tmp_path, "tasks:\n  a: echo hello\n  b: {run: x, retires: 2}\n")
        assert told(path) == [
            f"{path}:2:6: error[type]: task 'a' must be a mapping, not text",
            "    2 |   a: echo hello",
            "      |      ^",
            "      hint: write `run:` in front of the command",
            f"{path}:3:15: error[unknown-key]: unknown key 'retires' in task 'b'. Did you mean 'retries'?",
            "    3 |   b: {run: x, retires: 2}",
            "      |               ^",
        ]

    def test_where_the_line_is_not_at_hand_there_is_only_the_first(self, tmp_path: Path) -> None:
        assert len(told(tmp_path / "no.yaml")) == 1
        assert len(told(write(tmp_path, ""))) == 1
        assert Problem("f.yaml", 1, 1, "x", "y").lines() == ["f.yaml:1:1: error[x]: y"]

    def test_what_is_no_text_is_shown_as_far_as_it_is(self, tmp_path: Path) -> None:
        path = write(tmp_path, b"name: \xe2\x82\xac\ntasks: \xe2\x82\xac \xff\xfe\x1b[2J")
        assert told(path) == [
            f"{path}:2:10: error[not-text]: the file is not UTF-8 text",
            "    2 | tasks: € \ufffd\ufffd?[2J",
            "      |          ^",
            "      hint: save it as UTF-8 text",
        ]

    def test_a_record_is_one_line_and_only_findings_begin_at_the_edge(self, tmp_path: Path) -> None:
        """S29: neither names nor lines of a file can forge a finding."""
        name = "a\\nflow.yaml:1:1: error[forged]: x\\x1b[2J\\e]0;t\\a"
        path = write(tmp_path, f'tasks:\n  "{name}": {{run: x}}\n  b: |\n    flow.yaml:1:1: error[forged]: x\n')
        lines = told(path)
        assert all(line.isprintable() for line in lines)
        assert [line.split(": ")[1] for line in lines if not line.startswith(" ")] == ["error[key]", "error[type]"]

    def test_a_key_of_any_length_makes_no_message_of_that_length(self, tmp_path: Path) -> None:
        """S13."""
        path = write(tmp_path, f"tasks: {{a: {{run: x, timeout: {'v' * 1_000_000}}}}}\n? {'k' * 1_000_000}\n: 1\n")
        lines = told(path)
        assert [line.split(": ")[1] for line in lines if line.startswith("/")] == ["error[value]", "error[unknown-key]"]
        assert sum(map(len, lines)) < 8_000

    def test_who_guesses_at_the_language_is_told_what_there_is(self, tmp_path: Path) -> None:
        path = write(tmp_path, "jobs: {a: {run: 'make {{ inputs.what }}'}}\n")
        assert [line for line in told(path) if "hint" in line] == [
            "      hint: there are name, inputs, secrets, env, max_concurrency, on_failure, deadline, pools, budget, on_conflict, health, defaults, tasks, finally, outputs",
            "      hint: begin with `tasks: {hello: {run: echo hello}}`",
        ]
        path = write(tmp_path, "tasks: {a: {run: 'make {{ inputs.what }}'}}\n")
        assert told(path)[-1] == "      hint: declare it at the top of the file: `inputs: {NAME: {type: string}}`"

    def test_findings_are_data_too(self, tmp_path: Path) -> None:
        path = write(tmp_path, "tasks:\n\ta: x\n")
        with pytest.raises(FlowError) as caught:
            load(path)
        assert [each.plain() for each in caught.value.problems] == [
            {
                "file": str(path),
                "line": 2,
                "column": 1,
                "severity": "error",
                "code": "yaml",
                "message": "not YAML: found character that cannot start any token",
                "hint": "YAML is indented with spaces; this line has a tab",
                "source": "    a: x",
            }
        ]

    def test_warnings_are_counted_from_some_number_on_and_stand_beside_errors(self) -> None:
        problems = Problems("f.yaml", "a\nb\n")
        for line in range(MOST_WARNINGS + 5):
            for _ in range(2):
                problems.warn(Place(line + 1, 1), "w", "message", "hint")
        problems.add(START, "e", "wrong")
        error = problems.error()
        assert [str(each) for each in error.problems] == ["f.yaml:1:1: error[e]: wrong"]
        assert str(error) == "f.yaml:1:1: error[e]: wrong"
        assert len(error.warnings) == MOST_WARNINGS + 1
        assert str(error.warnings[0]) == "f.yaml:1:1: warning[w]: message"
        assert str(error.warnings[-1]) == "f.yaml:1:1: warning[more]: and 5 more warnings"

    def test_a_call_that_cannot_be_imported_shows_its_line(self, tmp_path: Path) -> None:
        flow = load(write(tmp_path, "tasks:\n  a: {call: 'no_such_module:f'}\n"))
        with pytest.raises(FlowError) as caught:
            flow.program({})
        assert caught.value.problems[0].lines()[1:] == [
            "    2 |   a: {call: 'no_such_module:f'}",
            "      |             ^",
        ]
