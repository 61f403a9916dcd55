"""The logger `plait`: silent until the program listens. Not made by `import plait`, for `logging` takes longer than all else there."""

from __future__ import annotations

import logging

log = logging.getLogger("plait")
log.addHandler(logging.NullHandler())
