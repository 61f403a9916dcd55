"""What is worth a look in a file that may well run: inputs that nothing uses, and data that a program may take for an option.

All of it is read off the text, nothing is filled in. A value is data where it is one plain look-up such as `item.path`; an expression,
and `raw(...)`, which says that a value is trusted, are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from plait.flow.problems import Place, Problems
from plait.flow.tree import Mapping, Scalar, Sequence, Tree, inside

HARMLESS = frozenset(("echo", "printf", "test", "[", "[[", "true", "false", ":", "cd", "exit", "return"))
"""Programs, and words of the shell, of which no option does any harm."""

MOST_ITEMS = 20
"""Items of a list in the file that are looked at one by one."""

LARGEST_SCRIPT = 100_000
"""Characters of a script that is looked at."""

NO_OPTIONS = frozenset(("integer", "number", "boolean"))
WHOLE = frozenset(("list", "object"))
"""Types of inputs of which no value begins with `-` (a number below zero is not what is meant by an option), and of which none does as a whole."""

_LOOKUP = re.compile(
    r"""\{\{\s*(?P<root>item|inputs|tasks|env|error|feedback)(?P<steps>(?:\s*\.\s*[^\W\d][\w-]*|\s*\[\s*(?:-?[0-9]+|"[^"]*"|'[^']*')\s*\])*)\s*\}\}"""
)
_STEP = re.compile(
    r"""\.\s*(?P<name>[^\W\d][\w-]*)|\[\s*(?:(?P<index>-?[0-9]+)|"(?P<double>[^"]*)"|'(?P<single>[^']*)')"""
)
_USE = re.compile(
    r"""\binputs\b(?:\s*\.\s*(?P<name>[\w-]+)|\s*\[\s*"(?P<double>[^"]*)"\s*\]|\s*\[\s*'(?P<single>[^']*)'\s*\])?"""
)
_LETTER = re.compile("-[A-Za-z]")
_INTERPRETER = re.compile(r"(?:.*/)?(?:ba|da|k|z)?sh|(?:.*/)?(?:python|pypy)[0-9.]*")


def advise(tree: Tree, problems: Problems) -> None:
    """Notes what is worth a look in the tree of a file."""
    if not isinstance(tree, Mapping):
        return
    inputs = tree.items.get("inputs")
    if isinstance(inputs, Mapping):
        _unused(tree, inputs, problems)
    env = tree.items.get("env")
    reader = _Reader(
        inputs if isinstance(inputs, Mapping) else Mapping({}, {}, tree.at),
        env if isinstance(env, Mapping) else Mapping({}, {}, tree.at),
        problems,
    )
    reader.group(tree, None)


# -- inputs


def _unused(tree: Mapping, inputs: Mapping, problems: Problems) -> None:
    used: set[str] = set()
    for name, each in tree.items.items():
        if name == "inputs":
            continue
        for text in _texts(each):
            for found in _USE.finditer(text) if "inputs" in text else ():
                step = found["name"] or found["double"] or found["single"]
                if step is None:
                    return  # all of them, or one that is worked out
                used.add(step)
    for name in inputs.items:
        # `inputs.a-1` may be `a` less one
        if name not in used and not any(step.startswith(f"{name}-") for step in used):
            problems.warn(
                inputs.keys[name],
                "unused-input",
                f"input {name!r} is declared and never used",
                f"look it up as {{{{ inputs.{name} }}}}, or drop it",
            )


def _texts(tree: Tree) -> Iterator[str]:
    """Every text in it."""
    match tree:
        case Scalar(str() as text):
            yield text
        case Sequence(items):
            for each in items:
                yield from _texts(each)
        case Mapping(items):
            for each in items.values():
                yield from _texts(each)
        case _:
            pass


# -- commands


class _Reader:
    def __init__(self, inputs: Mapping, env: Mapping, problems: Problems) -> None:
        self._inputs = inputs
        self._env = env
        self._problems = problems
        self._looks_up: dict[int, bool] = {}

    def group(self, tree: Mapping, items: Tree | None) -> None:
        """A file, or what has tasks in it; `items` are those of the foreach around it."""
        for name in ("tasks", "finally"):
            tasks = tree.items.get(name)
            for each in tasks.items.values() if isinstance(tasks, Mapping) else ():
                self.task(each, items)

    def task(self, tree: Tree, items: Tree | None) -> None:
        if not isinstance(tree, Mapping):
            return
        items = tree.items.get("foreach", items)
        run = tree.items.get("run")
        if isinstance(run, Sequence):
            self.words(run.items, items)
        elif isinstance(run, Scalar) and isinstance(run.value, str) and "{{" in run.value[:LARGEST_SCRIPT]:
            self.script(run, run.value[:LARGEST_SCRIPT], items)
        self.group(tree, items)
        if "on_error" in tree.items:
            self.task(tree.items["on_error"], items)
        for name in ("parallel", "switch"):
            branches = tree.items.get(name)
            for each in branches.items if isinstance(branches, Sequence) else ():
                if isinstance(each, Mapping):
                    self.group(each, items)

    def words(self, words: list[Tree], items: Tree | None) -> None:
        """A command as a list."""
        texts = [str(each.value) if isinstance(each, Scalar) else "" for each in words]
        behind = _end_of_options(texts)
        for at, (text, word) in enumerate(zip(texts, words, strict=True)):
            if text == "--":
                return
            found = _LOOKUP.match(text)
            if found is None or not self.may_be_option(found, items):
                continue
            if at == 0:
                name = found[0].strip("{ }")
                self.chosen(
                    word.at, found[0], f"write the program's name here; {{{{ raw({name}) }}}} says that you trust it"
                )
            elif at < behind:
                self.option_like(word.at, found[0], texts[0], texts[at - 1])

    def script(self, tree: Scalar, text: str, items: Tree | None) -> None:
        """A script. What the caller of the flow gave is not told of: it is found data that holds surprises."""
        for command in _commands(text):
            texts = [each.text for each in command]
            behind = _end_of_options(texts)
            for at, word in enumerate(command):
                if word.text == "--":
                    break
                found = _LOOKUP.match(word.text)
                if found is None or found["root"] in ("inputs", "env") or not self.may_be_option(found, items):
                    continue
                place = inside(tree, word.offset, self._problems.lines)
                if at == 0:
                    self.chosen(
                        place,
                        found[0],
                        "write the program's name here, and choose between names with `case` or `when:`",
                    )
                elif at < behind:
                    self.option_like(place, found[0], texts[0], texts[at - 1])

    def chosen(self, at: Place, shown: str, instead: str) -> None:
        self._problems.warn(at, "chosen-program", f"the value of {shown} chooses the program that runs", instead)

    def option_like(self, at: Place, shown: str, program: str, before: str) -> None:
        if program.rpartition("/")[2] == "find":
            instead = f"find takes no `--`: write ./{shown} where this is the path of something below the folder"
        elif before.startswith("--"):
            instead = f"write {before}={shown} as one word, or put `--` before it"
        elif _LETTER.fullmatch(before):
            instead = f"put `--` before it; if it belongs to {before}, write both as one word: {before}{shown}"
        else:
            instead = f"put `--` before it, or write it as --name={shown}"
        program = "the program" if "{{" in program else f"`{program}`"
        message = f"{program} takes a value of {shown} that begins with `-` for an option"
        self._problems.warn(at, "option-like", message, instead)

    def may_be_option(self, found: re.Match[str], items: Tree | None) -> bool:
        """May the value of a look-up be a text that begins with `-`, and that did not come from this file?"""
        steps = [
            each["name"] or each["double"] or each["single"] or each["index"] for each in _STEP.finditer(found["steps"])
        ]
        match found["root"]:
            case "inputs":
                declared = self._inputs.items.get(steps[0]) if steps else None
                kind = declared.items.get("type") if isinstance(declared, Mapping) else None
                name = kind.value if isinstance(kind, Scalar) else "string"
                return name not in NO_OPTIONS and not (name in WHOLE and len(steps) == 1)
            case "env":
                named = self._env.items.get(steps[0]) if steps else None
                return not (isinstance(named, Scalar) and _looks_into_env(named)) and self.holds_option(named)
            case "tasks":
                return bool(steps) and (steps[-1] != "status" or "output" in steps)
            case "error":
                return steps == ["message"]
            case "item" if isinstance(items, Sequence):
                if not self.looks_up(items):
                    return False
                return len(items.items) > MOST_ITEMS or any(
                    self.holds_option(_follow(each, steps)) for each in items.items
                )
            case _:
                return True

    def holds_option(self, tree: Tree | None) -> bool:
        """The same of a text of the file: one that begins with `-` there is meant to."""
        found = _LOOKUP.match(tree.value) if isinstance(tree, Scalar) and isinstance(tree.value, str) else None
        return found is not None and self.may_be_option(found, None)

    def looks_up(self, items: Sequence) -> bool:
        """Is there anything in a list that is not known before it runs?"""
        if id(items) not in self._looks_up:
            self._looks_up[id(items)] = any("{{" in text for text in _texts(items))
        return self._looks_up[id(items)]


def _looks_into_env(tree: Scalar) -> bool:
    """Is it wrong, as each would be that it leads to?"""
    found = _LOOKUP.match(tree.value) if isinstance(tree.value, str) else None
    return found is not None and found["root"] == "env"


def _follow(tree: Tree | None, steps: list[str]) -> Tree | None:
    for step in steps:
        if isinstance(tree, Mapping):
            tree = tree.items.get(step)
        elif isinstance(tree, Sequence) and step.isdigit() and int(step) < len(tree.items):
            tree = tree.items[int(step)]
        elif isinstance(tree, Scalar) and isinstance(tree.value, str) and "{{" in tree.value:
            return tree  # of what is in it
        else:
            return None
    return tree


def _end_of_options(words: list[str]) -> int:
    """Which words are no options of the program: because it has none that harm, or has got code to hand them to."""
    program = words[0] if words else ""
    if program.rpartition("/")[2] in HARMLESS:
        return 0
    given_code = "-c" in words and ("{{" in program or _INTERPRETER.fullmatch(program) is not None)
    return words.index("-c") + 2 if given_code else len(words)


# -- scripts


class _Word(NamedTuple):
    text: str
    offset: int


_TOKEN = re.compile(
    r"""(?P<hole>\{\{[^{}]{0,1000}+\}\})
    |(?P<skip>\\\n)
    |(?P<part>\\.|'[^']*'|"(?:\\.|[^"\\])*"|\$\{[^}]{0,1000}+\})
    |(?P<redirect>[0-9]*(?:<<<|<<-?|>>|>\||<>|[<>]&?))
    |(?P<space>[ \t\r]+)
    |(?P<end>[\n;|&()`])
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_BEFORE_A_COMMAND = frozenset(
    ("if", "then", "elif", "else", "while", "until", "do", "!", "{", "time", "exec", "command")
)
_NO_COMMAND = frozenset(("for", "case", "select", "function", "esac", "done", "fi", "}", "in"))
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


def _commands(script: str) -> Iterator[list[_Word]]:
    """The words of each simple command, roughly: quotes are part of a word, what stands in `$(...)` is a command of its own."""
    words: list[_Word] = []
    text, start = "", -1
    at, redirected = 0, False
    while at <= len(script):
        token = _TOKEN.match(script, at)
        kind = token.lastgroup if token is not None else "end"
        if kind == "other" and script[at] == "#" and start < 0:
            end = script.find("\n", at)
            at = end if end >= 0 else len(script)
            continue
        if kind in ("hole", "part", "other"):
            assert token is not None
            start = at if start < 0 else start
            text += token[0]
        elif kind != "skip":
            if start >= 0 and not redirected:
                words.append(_Word(text, start))
            redirected = kind == "redirect" or (redirected and start < 0 and kind == "space")
            text, start = "", -1
            if kind == "end":
                command = _command(words)
                if command:
                    yield command
                words = []
        at = token.end() if token is not None else at + 1


def _command(words: list[_Word]) -> list[_Word]:
    """From the program on; nothing where there is none."""
    for at, word in enumerate(words):
        if word.text in _NO_COMMAND:
            return []
        if word.text not in _BEFORE_A_COMMAND and not _ASSIGNMENT.match(word.text):
            return words[at:]
    return []
