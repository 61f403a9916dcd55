"""What is wrong with an expression, or with its values."""

from __future__ import annotations

from plait.errors import ExpressionError

PARSE = "EXPR_PARSE_ERROR"
EVALUATION = "EXPR_EVAL_ERROR"
VARIABLE = "EXPR_UNDEFINED_VARIABLE"
FUNCTION = "EXPR_UNDEFINED_FUNCTION"
BLOCKED = "EXPR_BLOCKED_ACCESS"
TYPE = "EXPR_TYPE_ERROR"


def fault(code: str, at: int | None, message: str, hint: str = "") -> ExpressionError:
    """The error to raise: of which kind, and where in the text; None where only the call that it came from knows."""
    return ExpressionError(message, code=code, offset=at, hint=hint)


def blocked(name: object) -> bool:
    """Is it a name that leads from data into an interpreter, here or elsewhere?"""
    return isinstance(name, str) and (name.startswith("__") or name in ("constructor", "prototype"))


def check_name(name: object, at: int | None = None) -> None:
    """Nothing, if a name may be looked up.

    Raises:
        ExpressionError: otherwise.
    """
    if blocked(name):
        raise fault(
            BLOCKED,
            at,
            f"{name!r} must not be looked up: names that begin with `__`, constructor and prototype are closed",
        )
