"""Logging: every record is one line of JSON, and no log call raises."""

import json
import logging
import os
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from bottle_service.release import release_id
from bottle_service.telemetry.access_log import AccessLog
from bottle_service.telemetry.logging import configure_logging
from bottle_service.telemetry.metrics import Metrics

from . import TEMPLATE
from .apps import client_for

HOSTILE = 'a\nb\x1b[31m\ud800\x00"é'


@pytest.fixture
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hooks = sys.excepthook, threading.excepthook
    yield
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(False)
    root.handlers, root.level = handlers, level


def configure(log_format: str = "json", release: str = "") -> None:
    """Configure logging within a test: pytest's own handlers do not see its records then."""
    configure_logging(
        "tested", release, log_format=log_format, log_level="INFO", request_id=lambda: "the-request"
    )


def lines_of(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capfd.readouterr().err.splitlines()]


@pytest.mark.usefixtures("_restored_logging")
def test_record_of_any_library_is_one_line_of_json(capfd: pytest.CaptureFixture[str]) -> None:
    configure()
    logging.getLogger("of.a.library").warning("it says %s", HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logging.getLogger("own").exception("failed")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn(HOSTILE, stacklevel=1)
    logging.getLogger("own").warning("%d", "not a number")
    lines = lines_of(capfd)
    assert [line["log.level"] for line in lines] == ["warning", "error", "warning", "warning"]
    assert {line["http.request.id"] for line in lines} == {"the-request"}
    assert lines[0]["message"] == 'it says a\nb\x1b[31m\\ud800\x00"é'
    assert lines[1]["error.type"] == "ValueError"
    assert "\\ud800" in lines[1]["error.message"]
    assert "Traceback" in lines[1]["error.stack_trace"]
    assert lines[2]["log.logger"] == "py.warnings"
    assert lines[3]["message"].startswith("%d cannot be logged: ")


class Wordless(Exception):
    """An exception whose `str()` raises."""

    def __str__(self) -> str:
        raise ZeroDivisionError("no text")


@pytest.mark.usefixtures("_restored_logging")
def test_extra_becomes_fields(capfd: pytest.CaptureFixture[str]) -> None:
    configure()
    loop: list[Any] = []
    loop.append(loop)
    extra: dict[Any, Any] = {
        "order": 5,
        "parts": {"a": [1, None, HOSTILE]},
        "items": (1, {"b": 2.5}),
        "object": Wordless(),
        "loop": loop,
        "text": HOSTILE,
        "service.name": "another",
        HOSTILE: 1,
        5: 6,
    }
    logging.getLogger("own").info("it is", extra=extra, stack_info=True)
    logging.getLogger("own").info("it is")
    line, bare = lines_of(capfd)
    assert (line["message"], line["service.name"]) == ("it is", "tested")
    assert (line["order"], line["items"]) == (5, [1, {"b": 2.5}])
    assert (line["parts"], line["loop"]) == (str(extra["parts"]), "[[...]]")
    assert (line["object"], line["5"]) == ("<Wordless without a text>", 6)
    assert line["text"] == 'a\nb\x1b[31m\\ud800\x00"é'
    assert "in test_extra_becomes_fields" in line["stack_info"]
    always = {"@timestamp", "log.level", "log.logger", "message", "service.name", "process.pid"}
    assert set(bare) == {*always, "http.request.id"}


@pytest.mark.usefixtures("_restored_logging")
@pytest.mark.parametrize(("path", "release"), [("releases/3f2a", "3f2a"), ("me/my", "")])
def test_release_is_in_logs_and_metrics(
    capfd: pytest.CaptureFixture[str], path: str, release: str
) -> None:
    assert release_id(Path("/opt", path, "src/package")) == release
    configure("json", release)
    access_log, metrics = AccessLog("tested", release, "json", "INFO"), Metrics(release)
    client_for(("GET", "/", lambda: 1), recorders=[access_log]).get("/")
    logging.getLogger("own").info("it is")
    assert [line.get("service.version", "") for line in lines_of(capfd)] == [release] * 2
    assert f'service_version="{release}"' in metrics.exposition().decode()


@pytest.mark.usefixtures("_restored_logging")
def test_text_format_ends_with_the_request_id(capfd: pytest.CaptureFixture[str]) -> None:
    configure("text")
    logging.getLogger("own").warning("%s", "done")
    assert capfd.readouterr().err.endswith(" WARNING own: done [the-request]\n")


@pytest.mark.usefixtures("_restored_logging")
def test_text_format_shows_extra_fields(capfd: pytest.CaptureFixture[str]) -> None:
    """One line, whatever the values are."""
    configure("text")
    fields = {
        "loan": 7,
        "state": "late",
        "note": "two\nlines",
        "tags": ["a"],
        "empty": "",
        "no": None,
    }
    logging.getLogger("own").warning("done", extra={**fields, "odd": Wordless()})
    (line,) = capfd.readouterr().err.splitlines()
    shown = r'own: done loan=7 state=late note="two\nlines" tags=["a"] empty="" odd="<Wordless'
    assert shown in line
    assert line.endswith(" [the-request]")


@pytest.mark.usefixtures("_restored_logging")
def test_text_format_shows_a_stack_once(capfd: pytest.CaptureFixture[str]) -> None:
    configure("text")
    logging.getLogger("own").warning("done", stack_info=True)
    assert capfd.readouterr().err.count("Stack (most recent call last)") == 1


def fail() -> None:
    raise ZeroDivisionError(HOSTILE)


def fail_in_a_thread() -> None:
    thread = threading.Thread(target=fail, name="own-thread")
    thread.start()
    thread.join()


@pytest.mark.parametrize(
    ("function", "where"), [("fail", "MainThread"), ("fail_in_a_thread", "own-thread")]
)
def test_uncaught_exception_is_one_line_of_json(function: str, where: str) -> None:
    program = f"from {__name__} import configure, {function}; configure(); {function}()"
    done = subprocess.run(
        [sys.executable, "-B", "-c", program],
        cwd=TEMPLATE,
        check=False,
        capture_output=True,
        text=True,
    )
    (line,) = map(json.loads, done.stderr.splitlines())
    assert line["message"] == f"uncaught exception in {where}"
    assert line["error.type"] == "ZeroDivisionError"


class Unformattable(SyntaxError):
    """An exception that the traceback module cannot format, on any version of Python."""

    @property
    def text(self) -> str:  # type: ignore[override]
        raise ZeroDivisionError("no text")


# The traceback module fails to format it on older Pythons, up to some release of 3.13.
BYTES: Any = ("file", 1, 1, b"bytes in place of a text")


@pytest.mark.usefixtures("_restored_logging")
@pytest.mark.parametrize(
    ("message", "arguments"),
    [(Wordless(), []), ("%s", [Wordless()]), ("%d", ["x"]), ("", [])],
)
@pytest.mark.parametrize("error", [Wordless(), Unformattable(), SyntaxError("x", BYTES)])
@pytest.mark.parametrize("name", ["own", "gunicorn.error"])
def test_no_log_call_raises(
    capfd: pytest.CaptureFixture[str],
    message: Any,
    arguments: list[Any],
    error: Exception,
    name: str,
) -> None:
    configure()
    logging.getLogger(name).error(message, *arguments, exc_info=error)
    (line,) = lines_of(capfd)
    assert (line["log.level"], line["log.logger"]) == ("error", name)
    try:
        formattable = bool(traceback.format_exception(error))
    except Exception:
        formattable = False
    assert line.get("error.type") == (type(error).__name__ if formattable else None)
    assert ("cannot be logged" in line["message"]) == (message != "" or not formattable)


@pytest.mark.usefixtures("_restored_logging")
def test_exception_without_a_text_is_logged(capfd: pytest.CaptureFixture[str]) -> None:
    configure()

    def fail() -> NoReturn:
        raise Wordless

    response = client_for(("GET", "/", fail)).get("/", status=500)
    (line,) = lines_of(capfd)
    assert response.json["request_id"] == response.headers["X-Request-ID"]
    assert (line["message"], line["error.type"]) == ("request failed", "Wordless")
    assert "in fail" in line["error.stack_trace"]


@pytest.mark.usefixtures("_restored_logging")
def test_malformed_request_is_not_quoted(capfd: pytest.CaptureFixture[str]) -> None:
    """Gunicorn's warning quotes the request, which may contain a secret."""
    configure()
    warning = "Invalid request from ip={ip}: {error}"
    text = warning.format(ip="::1", error="Invalid HTTP request line: 'GET /?token=secret'")
    logging.getLogger("gunicorn.error").warning(text)
    (line,) = lines_of(capfd)
    assert line["message"] == "Invalid request from ip=::1: Invalid HTTP request line"


@pytest.mark.usefixtures("_restored_logging")
def test_line_that_cannot_be_written_fails_no_request() -> None:
    configure()
    access_log = AccessLog("tested", "", "json", "INFO")
    client = client_for(("GET", "/fails", lambda: 1 / 0), recorders=[access_log])
    reader, writer = os.pipe()
    os.close(reader)
    stderr = os.dup(2)
    os.dup2(writer, 2)
    os.close(writer)
    try:
        response = client.get("/fails", status=500)
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
    assert response.json["title"] == "Internal Server Error"
