"""`template`: text with values in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plait.calls.shell import strict_json
from plait.errors import TaskError
from plait.expressions import text as written
from plait.nodes.base import At, Field, FieldKind, Node, one_of

FORMATS = ("auto", "text", "json")


class TemplateText(Node):
    """`<template>`, filled in. Text that is wholly a JSON object or list becomes that, unless `format` is text."""

    fields = {
        "template": Field(FieldKind.VALUE, required=True),
        "format": Field(default="auto", read=one_of(*FORMATS)),
    }

    async def run(self, given: Mapping[str, Any], at: At) -> Any:
        """The text, or the value that it says.

        Raises:
            TaskError: for `format="json"` with what is none.
        """
        text = given["template"]
        if given["format"] == "text":
            return written(text)
        if not isinstance(text, str):
            return text
        if given["format"] == "auto" and text.strip()[:1] not in ("{", "["):
            return text
        try:
            return strict_json(text)
        except (ValueError, RecursionError) as error:
            if given["format"] == "auto":
                return text
            raise TaskError(f'the text of {at.node!r} is not JSON, and it has format="json": {error}') from None
