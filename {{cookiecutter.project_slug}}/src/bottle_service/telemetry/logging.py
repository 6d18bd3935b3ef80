"""Log entries: one JSON object a line, with the field names of the Elastic Common Schema.

https://www.elastic.co/docs/reference/ecs/ecs-field-reference
"""

import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from msgspec import Raw
from msgspec.json import encode

__all__ = ["JsonFormatter", "LineHandler", "TextFormatter", "configure_logging", "write_line"]

# Attributes of every record; all others come from the caller: `extra` and `stack_info`.
_STANDARD_ATTRIBUTES = {
    *vars(logging.makeLogRecord({})),
    "message",
    "asctime",
    "taskName",
} - {"stack_info"}


def configure_logging(
    service: str,
    release: str,
    *,
    log_format: str,
    log_level: str,
    request_id: Callable[[], str] = str,
) -> None:
    """Send the log records and warnings of every library through one handler.

    `request_id` returns the ID of the present request, or "".
    """
    handler = LineHandler()
    if log_format == "json":
        handler.setFormatter(JsonFormatter(service, release, request_id))
    else:
        handler.setFormatter(TextFormatter(request_id))
    logging.basicConfig(handlers=[handler], level=log_level, force=True)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda args: _log_uncaught(args[0], args[1], args[2])
    # The servers' own handlers would write another format.
    for name in ("gunicorn.error", "waitress"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


def _log_uncaught(kind: type[BaseException], error: BaseException | None, _trace: object) -> None:
    """Log an exception that ends the process or a thread; Python would print lines of text."""
    if kind is not SystemExit:  # of a thread, which it ends silently
        where = threading.current_thread().name
        logging.getLogger(__name__).critical("uncaught exception in %s", where, exc_info=error)


class LineHandler(logging.Handler):
    """Handler that writes each record as one line, with one system call, to standard error.

    It never raises, because a log call that reports a failure must not fail itself.
    """

    def emit(self, record: logging.LogRecord) -> None:
        try:
            _redact_request(record)
            line = self.format(record)
        except Exception as error:  # arguments that do not fit the message or have no text
            # Change the record itself, because other handlers would fail too.
            record.msg, record.args = (
                f"{_safe_str(record.msg)} cannot be logged: {_safe_str(error)}",
                (),
            )
            line = self._format_again(record)
        write_line(line.encode("utf-8", "backslashreplace"))

    def _format_again(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception:  # its exc_info or stack_info fails too
            record.exc_info = record.stack_info = None
            return self.format(record)


def write_line(line: bytes) -> None:
    """Write the line to standard error. It is lost if the reader has exited or a disk is full."""
    line += b"\n"
    try:
        while (written := os.write(2, line)) < len(line):
            line = line[written:]
    except OSError:
        pass


class JsonFormatter(logging.Formatter):
    """Format a record as a JSON object; `extra` becomes fields of it."""

    def __init__(self, service: str, release: str, request_id: Callable[[], str]) -> None:
        super().__init__()
        self._service = service
        self._release = release
        self._request_id = request_id

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "@timestamp": datetime.fromtimestamp(record.created, UTC),
            "log.level": record.levelname.lower(),
            "log.logger": record.name,
            "message": _safe_str(record.getMessage()),
            "service.name": self._service,
            "process.pid": record.process,
        }
        if self._release:
            line["service.version"] = self._release
        if request_id := self._request_id():
            line["http.request.id"] = request_id
        if record.exc_info and (error := record.exc_info[1]):
            line["error.type"] = type(error).__name__
            line["error.message"] = _safe_str(error)
            line["error.stack_trace"] = _safe_str(self.formatException(record.exc_info))
        for name, value in _extra(record):
            line.setdefault(_safe_str(name), _json_safe(value))
        return encode(line).decode()


class TextFormatter(logging.Formatter):
    """Format a record as text for a terminal, with `extra` and the request ID at the end."""

    def __init__(self, request_id: Callable[[], str]) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
        self._request_id = request_id

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        for name, value in _extra(record):
            if name != "stack_info":  # logging appends it
                line += f" {_safe_str(name)}={_text(value)}"
        return f"{line} [{request_id}]" if (request_id := self._request_id()) else line


def _extra(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    """Yield the fields that the caller has added: `extra` and `stack_info`."""
    for name, value in record.__dict__.items():
        if name not in _STANDARD_ATTRIBUTES and value is not None:
            yield name, value


def _text(value: object) -> str:
    """Return a short text as it is, and other values as JSON, so that each entry is one line."""
    text = value if isinstance(value, str) else None
    return text if text and re.fullmatch(r"[!-~]+", text) else encode(_json_safe(value)).decode()


def _redact_request(record: logging.LogRecord) -> None:
    """Remove the client's text from Gunicorn's warning of a malformed request: it may be a secret."""
    if record.name == "gunicorn.error":
        text = re.sub(r"(Invalid request from ip=\S*: [^:]*).*", r"\1", record.getMessage())
        record.msg, record.args = text, ()


def _json_safe(value: object) -> object:
    """Return the value, or its text if JSON cannot represent it."""
    try:
        return Raw(encode(value))
    except Exception:
        return _safe_str(value)


def _safe_str(value: object) -> str:
    """Return the value's text, with lone surrogates escaped, which UTF-8 cannot encode."""
    try:
        text = str(value)
    except Exception:
        text = f"<{type(value).__name__} without a text>"
    return text.encode("utf-8", "backslashreplace").decode()
