"""Where a value may stand in a shell script: as one word, in the open."""

from __future__ import annotations

from plait.flow.templates import Hole, Template, TemplateError


def check_script(template: Template) -> None:
    """Nothing, if every value stands where one quoted word may stand in a shell script.

    Safety does not rest on this: values are never part of the script's text. Elsewhere than in the open, though, a value
    would not mean what it says there.

    Raises:
        TemplateError: for one inside quotes, backticks, `$(`, `${`, `((`, a comment or a here-document; `raw(...)` is let
            through.
    """
    scanner = _Scanner()
    last = max((at for at, part in enumerate(template.parts) if isinstance(part, Hole)), default=-1)
    for part in template.parts[: last + 1]:
        if isinstance(part, str):
            scanner.read(part)
            continue
        if not part.raw:
            where = scanner.unsafe()
            if where:
                raise TemplateError(
                    part.offset,
                    f'a value inside {where} is not safe there: {scanner.advice()}, use `env:` and "$NAME", or raw(...) if you trust it',
                    "shell-unsafe",
                )
        scanner.value()


class _Scanner:
    """Follows a script far enough to know what surrounds a place in it."""

    def __init__(self) -> None:
        self._stack: list[str] = []  # ' " ` $( ${ (( and comment, heredoc
        self._before = "\n"  # the character before
        self._escaped = False
        self._heredocs: list[tuple[str, bool]] = []
        self._delimiter: str | None = None  # of a here-document, while it is being read
        self._quote = ""  # in that name
        self._strip = False
        self._line = ""  # of a here-document's body

    def unsafe(self) -> str:
        """What makes a value unsafe here; empty where it is safe."""
        if self._escaped:
            return "a backslash escape"
        if self._delimiter is not None:
            return "the name of a here-document"
        if self._before == "$":
            return "`$` and a word"
        if not self._stack:
            return ""
        names = {
            "'": "single quotes",
            '"': "double quotes",
            "`": "backticks",
            "$(": "`$(...)`",
            "${": "`${...}`",
            "((": "`((...))`",
            "((1": "`((...))`",
            "#": "a comment",
            "<<": "a here-document",
        }
        return names[self._stack[-1]]

    def advice(self) -> str:
        return "drop the quotes" if self._stack and self._stack[-1] in "'\"" else "move it out"

    def value(self) -> None:
        """A value stood here: a word goes on."""
        self._before = "x"
        self._escaped = False

    def read(self, text: str) -> None:
        at = 0
        while at < len(text):
            at += self._step(text, at)

    def _step(self, text: str, at: int) -> int:
        """Reads what stands at `at`; how many characters that were."""
        each = text[at]
        top = self._stack[-1] if self._stack else ""
        if self._escaped:
            self._escaped = False
            if self._delimiter is not None:
                self._delimiter += each
            elif each != "\n":  # a line that goes on changes nothing
                self._before = "x"
            return 1
        if top == "<<":
            self._in_heredoc(each)
            return 1
        if top == "#":
            if each == "\n":
                self._stack.pop()
                return 0  # the end of the line is read again, outside
            return 1
        if top == "'":
            if each == "'":
                self._stack.pop()
                self._before = "x"
            return 1
        if self._delimiter is not None:
            if self._quote:
                if each == self._quote:
                    self._quote = ""
                else:
                    self._delimiter += each
                return 1
            if each in "\"'":
                self._quote = each
                return 1
            if each != "\\" and not each.isspace() and each not in ";&|<>()":
                self._delimiter += each
                return 1
            if each != "\\":
                self._end_delimiter()
        if each == "\\":
            self._escaped = True
            return 1
        return self._plain(text, at, top)

    def _plain(self, text: str, at: int, top: str) -> int:
        each = text[at]
        if (top == "`" and each == "`") or (top == '"' and each == '"'):
            self._close()
        elif top == "((" and text.startswith("))", at):
            self._close()
            return 2
        elif (top == "$(" and each == ")") or (top == "${" and each == "}"):
            self._close()
        elif text.startswith("$((", at):
            self._stack.append("((")
            return 3
        elif text.startswith("$(", at) or text.startswith("${", at):
            self._stack.append(text[at : at + 2])
            self._before = "(" if text[at + 1] == "(" else "x"
            return 2
        elif each == "`":
            self._stack.append("`")
        elif each == '"':
            self._stack.append('"')
        elif top == '"':
            self._before = each
        elif each == "'" and not (top == "${" and '"' in self._stack):
            self._stack.append("'")
        elif text.startswith("((", at) and top != "((":
            self._stack.append("((")
            return 2
        elif each == "(" and top in ("$(", "(("):
            self._stack.append("$(" if top == "$(" else "((1")  # its `)` is its own
        elif each == ")" and top == "((1":
            self._close()
        elif each == "#" and self._before in " \t\n;&|()<>":
            self._stack.append("#")
        elif text.startswith("<<", at) and not text.startswith("<<<", at) and top not in ("((", "((1"):
            return self._start_heredoc(text, at)
        elif each == "\n" and self._heredocs:
            self._stack.append("<<")
            self._line = ""
            self._before = "\n"
        else:
            if text.startswith("<<<", at):
                self._before = "<"
                return 3
            self._before = each
        return 1

    def _close(self) -> None:
        self._stack.pop()
        self._before = "x"

    def _start_heredoc(self, text: str, at: int) -> int:
        rest = at + 2
        strip = text.startswith("-", rest)
        rest += strip
        while rest < len(text) and text[rest] in " \t":
            rest += 1
        self._delimiter = ""
        self._strip = strip
        return rest - at

    def _end_delimiter(self) -> None:
        assert self._delimiter is not None
        self._heredocs.append((self._delimiter, self._strip))
        self._delimiter = None

    def _in_heredoc(self, each: str) -> None:
        if each != "\n":
            self._line += each
            return
        name, strip = self._heredocs[0]
        line = self._line.lstrip("\t") if strip else self._line
        self._line = ""
        if line == name:
            self._heredocs.pop(0)
            if not self._heredocs:
                self._stack.pop()
                self._before = "\n"
