"""Secret values, found in whatever form they stand and replaced: `Redactor(values).redact(anything)`."""

from plait.redaction.forms import MARK
from plait.redaction.redactor import Redactor
from plait.redaction.secrets import Secrets
from plait.redaction.streams import Filter

__all__ = ["MARK", "Filter", "Redactor", "Secrets"]
