"""Log lines: JSON, one a line, with the field names of the Elastic Common Schema.

https://www.elastic.co/docs/reference/ecs/ecs-field-reference
"""

import logging
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from msgspec import Raw
from msgspec.json import encode

from ..settings import RELEASE, Settings

# What every record has; the rest is the caller's: `extra` and `stack_info`.
_USUAL = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"} - {"stack_info"}


class LineHandler(logging.Handler):
    """Writes each record as one line, with one system call, to standard error.

    Whatever is logged, nothing is raised: who logs a failure must not fail of that.
    """

    def emit(self, record: logging.LogRecord) -> None:
        try:
            _take_request_out(record)
            line = self.format(record)
        except Exception as error:  # arguments that do not fit the message, or have no text
            # In the record itself, because other handlers would fail of it, too.
            record.msg, record.args = f"{_text(record.msg)} cannot be logged: {_text(error)}", ()
            line = self._format_again(record)
        write_line(line.encode("utf-8", "backslashreplace"))

    def _format_again(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception:  # nor can what comes with the message
            record.exc_info = record.stack_info = None
            return self.format(record)


def write_line(line: bytes) -> None:
    """Write the line, or lose it where that fails: whoever read it has ended, or a disk is full."""
    line += b"\n"
    try:
        while (written := os.write(2, line)) < len(line):
            line = line[written:]
    except OSError:
        pass


class JsonFormatter(logging.Formatter):
    def __init__(self, service: str, request_id: Callable[[], str]) -> None:
        super().__init__()
        self._service = service
        self._request_id = request_id

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "@timestamp": datetime.fromtimestamp(record.created, UTC),
            "log.level": record.levelname.lower(),
            "log.logger": record.name,
            "message": _text(record.getMessage()),
            "service.name": self._service,
            "process.pid": record.process,
        }
        if RELEASE:
            line["service.version"] = RELEASE
        if request_id := self._request_id():
            line["http.request.id"] = request_id
        if record.exc_info and (error := record.exc_info[1]):
            line["error.type"] = type(error).__name__
            line["error.message"] = _text(error)
            line["error.stack_trace"] = _text(self.formatException(record.exc_info))
        for name, value in record.__dict__.items():
            if name not in _USUAL and value is not None:
                line.setdefault(_text(name), _plain(value))
        return encode(line).decode()


class TextFormatter(logging.Formatter):
    def __init__(self, request_id: Callable[[], str]) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
        self._request_id = request_id

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        return f"{line} [{request_id}]" if (request_id := self._request_id()) else line


def configure(settings: Settings, service: str, request_id: Callable[[], str]) -> None:
    """Send the log records of every library through one handler, warnings too."""
    handler = LineHandler()
    if settings.log_format == "json":
        handler.setFormatter(JsonFormatter(service, request_id))
    else:
        handler.setFormatter(TextFormatter(request_id))
    logging.basicConfig(handlers=[handler], level=settings.log_level, force=True)
    logging.captureWarnings(True)
    # A server's own handlers would write its lines in another form.
    for name in ("gunicorn.error", "waitress"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


def _take_request_out(record: logging.LogRecord) -> None:
    """Take what was sent out of Gunicorn's warning of a malformed request: it may be a secret."""
    if record.name == "gunicorn.error":
        text = re.sub(r"(Invalid request from ip=\S*: [^:]*).*", r"\1", record.getMessage())
        record.msg, record.args = text, ()


def _plain(value: object) -> object:
    """Return the value, or its text if it cannot be said in JSON."""
    try:
        return Raw(encode(value))
    except Exception:
        return _text(value)


def _text(value: object) -> str:
    """Return the value's text, with what UTF-8 cannot encode escaped: lone surrogates."""
    try:
        text = str(value)
    except Exception:
        text = f"<{type(value).__name__} without a text>"
    return text.encode("utf-8", "backslashreplace").decode()
