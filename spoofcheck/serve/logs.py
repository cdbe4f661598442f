"""Logs as one JSON object a line on standard error: no audio, no keys, no names of files."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

_OWN = "spoofcheck.serve"
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}


class JsonFormatter(logging.Formatter):
    """One line per record: time, level, what, and what was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, in ASCII: nothing in it can steer a terminal."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "what": record.getMessage(),
        }
        line |= {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: int = logging.INFO) -> None:
    """Let the service and the server under it write to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in (_OWN, "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
    # Requests are logged by the application: without query and address.
    logging.getLogger("uvicorn.access").disabled = True
