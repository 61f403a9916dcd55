"""What a task runs: commands, functions, requests, questions; and when, and how often."""

from __future__ import annotations

import re
from typing import Any

from plait.calls.shell import OUTPUTS, OutputKind
from plait.errors import UsageError
from plait.flow.keys import EXECUTORS, HTTP_KEYS, OF_CODE_ALONE, TARGET
from plait.flow.leaves import Leaves
from plait.flow.model import (
    Ask,
    Http,
    PythonCall,
)  # fmt: skip
from plait.flow.templates import Template, holds_template
from plait.flow.texts import Sight
from plait.flow.tree import Mapping as Map
from plait.flow.tree import Scalar, Sequence, Tree, kind, plain
from plait.flow.values import shown

_SERVER = re.compile(r"(?i)https?://[^/?#]+[/?#]|https?://[^/?#]+\Z")
"""A URL whose server stands in the file."""


def _placeheld(data: Any) -> Any:
    """Data with text in the place of what is to be filled in."""
    if isinstance(data, dict):
        return {key: _placeheld(each) for key, each in data.items()}
    return "x" if isinstance(data, Template) else data


class Bodies(Leaves):
    """Reads what a task runs."""

    def foreach(
        self, tree: Tree, around: Sight, needs: list[str], what: str = "foreach"
    ) -> Template | list[Any] | None:
        if isinstance(tree, Sequence):
            return [self.data(each, around, needs) for each in tree.items]
        if isinstance(tree, Scalar) and isinstance(tree.value, str):
            template = self.template(tree, around, needs)
            if template is not None and template.alone is not None:
                return template
            if template is not None:
                self.bad(
                    tree.at,
                    "type",
                    f'{what} needs a list, or one template that gives a list: "{{{{ tasks.list.output }}}}"',
                )
            return None
        self.bad(tree.at, "type", f"{what} needs a list or a template, not {kind(tree)}")
        return None

    def when(self, tree: Tree, around: Sight, needs: list[str], name: str = "when") -> Template | bool | None:
        if isinstance(tree, Scalar) and isinstance(tree.value, bool):
            return tree.value
        if isinstance(tree, Scalar) and isinstance(tree.value, str):
            template = self.template(tree, around, needs)
            if template is None or template.alone is not None:
                return template
        self.bad(tree.at, "type", f'{name} needs true, false, or one template alone: "{{{{ tasks.check.output.ok }}}}"')
        return None

    def http(self, tree: Tree, around: Sight, needs: list[str]) -> Http | None:
        """A request: its URL, or a mapping."""
        from plait.calls.http import METHODS, OUTPUTS, check_auth, path

        if not isinstance(tree, Map):
            tree = Map({"url": tree}, {"url": tree.at}, tree.at)
        self.unknown(tree, HTTP_KEYS, "http")
        items = tree.items
        if "url" not in items:
            self.bad(tree.at, "missing", "http has no `url`")
            return None
        if not isinstance(plain(items["url"]), str):
            self.bad(items["url"].at, "type", f"a URL is text, not {kind(items['url'])}")
            return None
        url = self.template(items["url"], around, needs)
        if url is not None and not (url.parts and str(url.parts[0]).strip()):
            self.bad(items["url"].at, "empty", "the URL is empty")
        fixed: dict[str, Any] = {}
        filled: dict[str, Any] = {"url": url}
        for name, each in items.items():
            value = self.data(each, around, needs) if name not in ("url", "allow_private") else None
            if name in ("headers", "params", "auth") and not isinstance(each, Map):
                self.bad(each.at, "type", f"{name} must be a mapping, not {kind(each)}")
            elif name in ("headers", "params", "auth", "body"):
                (filled if holds_template(value) else fixed)[name] = value
        method = items.get("method")
        if method is not None:
            said = plain(method)
            if not isinstance(said, str) or said.upper() not in METHODS:
                self.bad(method.at, "value", f"method must be one of {', '.join(METHODS)}, not {shown(said)}")
            else:
                fixed["method"] = said.upper()
        if "output" in items:
            said = plain(items["output"])
            if said not in OUTPUTS or said == "bytes":
                known = [each for each in OUTPUTS if each != "bytes"]
                self.bad(items["output"].at, "value", f"output must be one of {', '.join(known)}, not {shown(said)}")
            fixed["output"] = said
        try:
            if isinstance(items.get("auth"), Map):
                check_auth(_placeheld(fixed.get("auth", filled.get("auth"))))
        except UsageError as error:
            self.bad(items["auth"].at, "value", str(error))
        if "extract" in items:
            try:
                path(plain(items["extract"]))
                fixed["extract"] = plain(items["extract"])
            except UsageError as error:
                self.bad(items["extract"].at, "value", str(error))
        if "max_bytes" in items:
            fixed["max_bytes"] = plain(items["max_bytes"])
            if (
                isinstance(fixed["max_bytes"], bool)
                or not isinstance(fixed["max_bytes"], int)
                or fixed["max_bytes"] < 1
            ):
                self.bad(
                    items["max_bytes"].at,
                    "value",
                    f"max_bytes must be a whole number of at least 1, not {shown(fixed['max_bytes'])}",
                )
        private = plain(items["allow_private"]) if "allow_private" in items else False
        if not isinstance(private, bool):
            self.bad(items["allow_private"].at, "type", "allow_private must be true or false")
        if private is True or (url is not None and not _SERVER.match(str(url.parts[0]) if url.parts else "")):
            fixed["private"] = private
        return None if url is None else Http(fixed, filled)

    def ask(self, tree: Map, around: Sight, needs: list[str]) -> Ask | None:
        from plait.forms import Form  # few files ask

        items = tree.items
        prompt = items["ask"]
        if not isinstance(prompt, Scalar) or not isinstance(prompt.value, str) or not prompt.value.strip():
            what = "empty text" if isinstance(prompt, Scalar) and isinstance(prompt.value, str) else kind(prompt)
            self.bad(prompt.at, "type", f"ask must be a question, as text, not {what}")
            return None
        template = self.template(prompt, around, needs)
        if "approve" in items:
            return self.approval(tree, template, around, needs)
        if "rounds" in items:
            self.bad(
                tree.keys["rounds"], "misplaced", "rounds is for an approval: name what is approved, `approve: KEY`"
            )
        given = plain(items["form"]) if "form" in items else None
        try:
            form = Form.of(given)
        except UsageError as error:
            self.bad(items["form"].at, "value", str(error))
            return None
        default: tuple[Any, ...] = ()
        if "default" in items:
            default = (plain(items["default"]),)
            try:
                form.check(default[0], "the default")
            except UsageError as error:
                self.bad(items["default"].at, "value", str(error))
        who, timeout = self.asked(tree)
        return None if template is None else Ask(template, given, default, timeout, who)

    def asked(self, tree: Map) -> tuple[tuple[str, ...], float | None]:
        """Who may answer, and in which time."""
        from plait.asking import names_of

        who: tuple[str, ...] = ()
        if "who" in tree.items:
            try:
                who = names_of(plain(tree.items["who"]))
            except UsageError as error:
                self.bad(tree.items["who"].at, "value", str(error))
        timeout = None
        if "timeout" in tree.items:
            found = self.option("timeout", tree.items["timeout"])
            timeout = None if found is None else found.timeout
        for name in OF_CODE_ALONE:
            if name in tree.items:
                self.bad(tree.keys[name], "misplaced", f"{name} is for code that runs, and a question has none")
        return who, timeout

    def approval(self, tree: Map, prompt: Template | None, around: Sight, needs: list[str]) -> Ask | None:
        """A question whether the work of other tasks is good."""
        from plait.approving import ROUNDS, approval_default, rounds_of
        from plait.asking import NOTHING

        items = tree.items
        each = items["approve"]
        found = self.needs(each, "", around, "an approval is of")
        needs += found
        for name in ("form", "foreach", "matrix"):
            if name in items:
                says = (
                    "approve, revise or reject is the answer"
                    if name == "form"
                    else f"put both into the tasks of a {name}"
                )
                self.bad(tree.keys[name], "misplaced", f"{name} does not go with approve: {says}")
        default: tuple[Any, ...] = ()
        try:
            default = approval_default(plain(items["default"]) if "default" in items else NOTHING)
        except UsageError as error:
            self.bad(items["default"].at, "value", str(error))
        rounds = ROUNDS
        if "rounds" in items:
            try:
                rounds = rounds_of(plain(items["rounds"]))
            except UsageError as error:
                self.bad(items["rounds"].at, "value", str(error))
        who, timeout = self.asked(tree)
        if prompt is None or not found:
            if isinstance(each, Sequence) and not each.items:
                self.bad(each.at, "empty", "approve names the tasks whose work is asked about: give at least one")
            return None
        approves = tuple(dict.fromkeys(found))
        return Ask(prompt, None, default, timeout, who, approves, isinstance(each, Sequence), rounds)

    def word(self, tree: Tree, around: Sight, needs: list[str]) -> Template | None:
        if not isinstance(tree, Scalar) or tree.value is None:
            self.bad(tree.at, "type", f"a word of a command must be text or a number, not {kind(tree)}")
            return None
        if isinstance(tree.value, str):
            return self.spoken(tree, around, needs)
        return Template((str(plain(tree)).lower() if isinstance(tree.value, bool) else str(tree.value),))

    def output(self, tree: Map) -> OutputKind:
        given = plain(tree.items["output"]) if "output" in tree.items else "text"
        for known in OUTPUTS:
            if given == known:
                return known
        self.bad(tree.items["output"].at, "value", f"output must be one of {', '.join(OUTPUTS)}, not {given!r}")
        return "text"

    def call(self, tree: Map, around: Sight, needs: list[str]) -> PythonCall | None:
        each = tree.items["call"]
        target = each.value if isinstance(each, Scalar) else None
        if not isinstance(target, str) or not TARGET.fullmatch(target):
            self.bad(each.at, "value", f"call must name a function as module:name, not {plain(each)!r}"[:200])
            return None
        arguments: dict[str, Any] = {}
        if "with" in tree.items:
            for name, value in self.entries(tree.items["with"], "with"):
                arguments[name] = self.data(value, around, needs)
        if "executor" in tree.items and plain(tree.items["executor"]) not in EXECUTORS:
            self.bad(
                tree.items["executor"].at,
                "value",
                f"executor must be thread, process or async in this version, not {plain(tree.items['executor'])!r}",
            )
        module, name = target.split(":")
        executor = str(plain(tree.items["executor"])) if "executor" in tree.items else None
        return PythonCall(module, name, arguments, each.at, executor, self._path)

    def cwd(self, tree: Tree, around: Sight, needs: list[str]) -> Template | None:
        """The template of a folder. A number may have been written in another way than it would be read."""
        if not isinstance(tree, Scalar) or not isinstance(tree.value, str) or not tree.value:
            what = "empty text" if isinstance(tree, Scalar) and tree.value == "" else kind(tree)
            self.bad(tree.at, "type", f"cwd must be a folder, as text, not {what}")
            return None
        return self.spoken(tree, around, needs)
