"""Log lines: JSON whatever is logged, for every logger and for warnings."""

import json
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from {{ cookiecutter.package_name }}.settings import Settings, release_of
from {{ cookiecutter.package_name }}.telemetry import access, logs, metrics

from .stack import client, public

HOSTILE = 'a\nb\x1b[31m\ud800\x00"é'


@pytest.fixture
def _configured() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure(Settings(), "logs", lambda: "the-request")
    yield
    logging.captureWarnings(False)
    root.handlers, root.level = handlers, level


@pytest.mark.usefixtures("_configured")
def test_whatever_is_logged_is_one_line_of_json(capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("of.a.library").warning("it says %s", HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logging.getLogger("own").exception("failed")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn(HOSTILE, stacklevel=1)
    logging.getLogger("own").warning("%d", "no number")
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["log.level"] for line in lines] == ["warning", "error", "warning", "warning"]
    assert {line["http.request.id"] for line in lines} == {"the-request"}
    assert lines[0]["message"] == 'it says a\nb\x1b[31m\\ud800\x00"é'
    assert lines[1]["error.type"] == "ValueError"
    assert "\\ud800" in lines[1]["error.message"]
    assert "Traceback" in lines[1]["error.stack_trace"]
    assert lines[2]["log.logger"] == "py.warnings"
    assert lines[3]["message"].startswith("%d cannot be logged: ")


@pytest.mark.usefixtures("_configured")
def test_what_a_caller_adds_is_in_the_line(capfd: pytest.CaptureFixture[str]) -> None:
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
    line, bare = (json.loads(line) for line in capfd.readouterr().err.splitlines())
    assert (line["message"], line["service.name"]) == ("it is", "logs")
    assert (line["order"], line["items"]) == (5, [1, {"b": 2.5}])
    assert (line["parts"], line["loop"]) == (str(extra["parts"]), "[[...]]")
    assert (line["object"], line["5"]) == ("<Wordless without a text>", 6)
    assert line["text"] == 'a\nb\x1b[31m\\ud800\x00"é'
    assert "in test_what_a_caller" in line["stack_info"]
    ours = {"@timestamp", "log.level", "log.logger", "message", "service.name", "process.pid"}
    assert set(bare) == {*ours, "http.request.id"}


@pytest.mark.usefixtures("_configured")
@pytest.mark.parametrize(("place", "named"), [("releases/3f2a", "3f2a"), ("me/my", None)])
def test_the_release_is_named(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    named: str | None,
) -> None:
    release = release_of(Path("/opt", place, "src/package/settings.py"))
    for module in (access, logs, metrics):
        monkeypatch.setattr(module, "RELEASE", release)
    recorders = [access.AccessLog(Settings(), "logs")]
    client(lambda app: public(app, "/", lambda: 1), recorders=recorders).get("/")
    logging.getLogger("own").info("it is")
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line.get("service.version") for line in lines] == [named, named]
    assert f'service_version="{named or ""}"' in metrics.Metrics().exposition().decode()


UNTIDY: Any = ("file", 1, 1, b"no text")


class Wordless(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError("no text")


@pytest.mark.usefixtures("_configured")
@pytest.mark.parametrize(
    ("message", "arguments"),
    [(Wordless(), []), ("%s", [Wordless()]), ("%d", ["x"]), ("", [])],
)
@pytest.mark.parametrize("error", [Wordless(), SyntaxError("x", UNTIDY)])
@pytest.mark.parametrize("name", ["own", "gunicorn.error"])
def test_no_log_call_raises(
    capfd: pytest.CaptureFixture[str],
    message: Any,
    arguments: list[Any],
    error: Exception,
    name: str,
) -> None:
    logging.getLogger(name).error(message, *arguments, exc_info=error)
    line = json.loads(capfd.readouterr().err)
    assert (line["log.level"], line["log.logger"]) == ("error", name)
    assert ("error.type" in line) == isinstance(error, Wordless)
    right = message == "" and isinstance(error, Wordless)
    assert ("cannot be logged" in line["message"]) == (not right)


@pytest.mark.usefixtures("_configured")
def test_an_exception_without_a_text_is_answered_and_logged(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise Wordless

    answer = client(lambda app: public(app, "/", fail)).get("/", status=500)
    line = json.loads(capfd.readouterr().err)
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]
    assert (line["message"], line["error.type"]) == ("request failed", "Wordless")
    assert "in fail" in line["error.stack_trace"]


@pytest.mark.usefixtures("_configured")
def test_a_line_that_cannot_be_written_fails_no_request() -> None:
    app = client(
        lambda app: public(app, "/fails", lambda: 1 / 0),
        recorders=[access.AccessLog(Settings(), "logs")],
    )
    reader, writer = os.pipe()
    os.close(reader)
    kept = os.dup(2)
    os.dup2(writer, 2)
    os.close(writer)
    try:
        answer = app.get("/fails", status=500)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert answer.json["title"] == "Internal Server Error"
