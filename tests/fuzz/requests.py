"""Hostile requests as WSGI environs (PEP 3333), and the checks of every response."""

import io
import json
import random
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .words import (
    ATOMS,
    COOKIES,
    FIELDS,
    FORMS,
    GOOD,
    HEADERS,
    JSONS,
    KEYS,
    LEAVES,
    LENGTHS,
    LIMIT,
    MARKER,
    METHODS,
    MULTIPARTS,
    PARTS,
    TOKEN,
    VALUES,
)

DEFAULT_HEADERS = {
    *("cache-control", "content-security-policy", "cross-origin-opener-policy"),
    *("cross-origin-resource-policy", "referrer-policy", "x-content-type-options"),
    *("x-frame-options", "x-request-id"),
}
PROBLEM = {"type", "title", "status", "detail", "request_id"}


@dataclass(frozen=True)
class Request:
    """WSGI request; `input` is the behaviour of its body stream."""

    environ: dict[str, Any]
    body: bytes
    input: str  # "whole", or "reset" or "malformed": reading it raises

    def wsgi(self) -> dict[str, Any]:
        stream = io.BytesIO(self.body) if self.input == "whole" else Failing(self.input)
        return {
            **self.environ,
            "wsgi.input": stream,
            "wsgi.errors": io.StringIO(),
            "wsgi.version": (1, 0),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "wsgi.url_scheme": "http",
        }


class Failing(io.BytesIO):
    """Body stream of a disconnected client, or with chunks that the server cannot decode."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self._error = ConnectionResetError(104, MARKER) if how == "reset" else ValueError(MARKER)

    def _fail(self, *_: Any) -> Any:
        raise self._error

    read = readline = readlines = __iter__ = __next__ = _fail


class Hostile:
    """Generator of requests to targets such as "METHOD /path", in which `<…>` is any value."""

    def __init__(self, seed: str, targets: Sequence[str]) -> None:
        self._random = random.Random(seed)  # noqa: S311
        self._targets = targets

    def _some(self, chance: float) -> bool:
        return self._random.random() < chance

    def mutated(self, text: str, chance: float) -> str:
        """Return the text with random insertions, deletions and repetitions."""
        while self._some(chance):
            start, end = sorted(self._random.choices(range(len(text) + 1), k=2))
            atom = self._random.choice(ATOMS)
            middle = self._random.choice([atom, atom, "", text[start:end] * 2])
            text = text[:start] + middle + text[end if self._some(0.5) else start :]
        return text[:40_000]

    def path(self, rule: str) -> str:
        values = [*ATOMS, "1", "2", "3", "metrics"]
        return self.mutated(re.sub("<.*?>", lambda _: self._random.choice(values), rule), 0.1)

    def query(self) -> str:
        choose = self._random.choice
        pairs = [
            f"{choose(FIELDS)}={choose(ATOMS) if self._some(0.4) else choose(VALUES)}"
            for _ in range(choose([0, 1, 1, 2, 3, 150]))
        ]
        return self.mutated("&".join(pairs), 0.1)

    def json(self, depth: int = 0) -> bytes:
        choose = self._random.choice
        if depth == 0 and self._some(0.1):
            times = choose([5, 500, 900, 1100, 5000])
            start, end = choose([(b"[", b"]"), (b'{"title":', b"}"), (b'{"inner":[', b"]}")])
            return start * times + end * choose([0, times])
        if depth > 3 or self._some(0.6 if depth else 0.1):
            return choose(LEAVES)
        items = [self.json(depth + 1) for _ in range(choose([0, 1, 2, 3]))]
        if self._some(0.25):
            return b"[" + b",".join(items) + b"]"
        return b"{" + b",".join(choose(KEYS) + b": " + item for item in items) + b"}"

    def multipart(self) -> bytes:
        choose, end = self._random.choice, b"\r\n"
        body = b""
        for _ in range(choose([0, 1, 1, 2, 120])):
            head = [choose(PARTS[:5] if self._some(0.8) else PARTS)]
            head += [choose(PARTS)] if self._some(0.3) else []
            content = choose([b"x", b"7", b"", b"\xff", b"+2AA-", b"\r\n", choose(LEAVES)])
            body += b"--b" + end + end.join(head) + end + end + content + end
        return body + choose([b"--b--\r\n", b"--b--\r\n", b"--b--", b"", b"--b", b"--b--\r\njunk"])

    def typed_body(self) -> tuple[str, bytes]:
        """Return a content type and a body."""
        choose = self._random.choice
        match choose(["good", "good", "json", "json", "urlencoded", "multipart", "junk"]):
            case "good":
                return choose(GOOD)
            case "json":
                return choose(JSONS), self.json()
            case "urlencoded":
                pairs = b"name=%s" % choose([b"x", b"%FF", b"+2AA-", b"\\ud800", b"00"])
                return choose(FORMS), choose([pairs, self.query().encode("latin-1")])
            case "multipart":
                return choose(MULTIPARTS), self.multipart()
            case _:
                return choose(JSONS), choose(
                    [b"", b"\r\n" * 5000, b"[" * LIMIT, b"x" * (LIMIT + 1)]
                )

    def _headers(self) -> dict[str, str]:
        choose, headers = self._random.choice, {}
        if self._some(0.9):
            bearer = f"Bearer {TOKEN if self._some(0.9) else MARKER}"
            headers["HTTP_AUTHORIZATION"] = self.mutated(bearer, 0.02)
        if self._some(0.2):
            headers["HTTP_COOKIE"] = self.mutated(choose(COOKIES), 0.15)
        for name in self._random.sample(list(HEADERS), k=choose([0, 0, 1, 2, 5])):
            headers[name] = self.mutated(choose(HEADERS[name]), 0.15)
        return headers

    def request(self) -> Request:
        choose, how = self._random.choice, "whole"
        method, _, rule = choose(self._targets).partition(" ")
        if self._some(0.15):
            method = choose(METHODS)
        kind, body = (
            self.typed_body() if method in ("POST", "PUT") or self._some(0.1) else ("", b"")
        )
        if self._some(0.1):
            kind = choose([*JSONS, *FORMS, *MULTIPARTS])
        body = self.mutated(body.decode("latin-1"), 0.05).encode("latin-1")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": self.path(rule),
            "QUERY_STRING": self.query() if self._some(0.9 if rule == "/query" else 0.3) else "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": choose(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/0.9"]),
            "REMOTE_ADDR": choose(["127.0.0.1", "127.0.0.1", "", "::1"]),
            "CONTENT_TYPE": self.mutated(kind, 0.05),
            "CONTENT_LENGTH": str(len(body)),
            **self._headers(),
        }
        if self._some(0.05):
            environ["CONTENT_LENGTH"] = choose([*LENGTHS, str(len(body) + 1), str(len(body) // 2)])
        elif self._some(0.1):
            del environ["CONTENT_LENGTH"]
            environ["HTTP_TRANSFER_ENCODING"] = choose(["chunked", "chunked", "gzip, chunked", "x"])
            environ |= {"wsgi.input_terminated": True} if self._some(0.9) else {}
            how = choose(["whole", "whole", "reset", "malformed"])
        elif body and self._some(0.03):
            how = "reset"
        return Request(environ, body, how)


def too_large(request: Request) -> bool:
    """Whether the body is complete and larger than the limit."""
    whole = request.environ.get("CONTENT_LENGTH", str(len(request.body))) == str(len(request.body))
    return whole and request.input == "whole" and len(request.body) > LIMIT


def unclean(path: str) -> bool:
    """Whether proxies and routes could read this path differently."""
    try:
        text = path.encode("latin-1").decode()
    except UnicodeError:
        return True
    return not text.startswith("/") or any(unicodedata.category(c) == "Cc" for c in text)


def check_response(
    status: int, headers: Sequence[tuple[str, str]], body: bytes, head: bool = False
) -> None:
    """Check a response of the service: status, headers and problem document."""
    names = [name.lower() for name, _ in headers]
    values = dict(zip(names, (value for _, value in headers), strict=True))
    assert 200 <= status < 500, status
    assert len(names) == len(set(names)), names
    assert set(names) >= DEFAULT_HEADERS, names
    if not head and status not in (204, 304):
        assert int(values["content-length"]) == len(body)
    assert not (head and body)
    if status < 400 or head:
        return
    if values["content-type"] == "text/html; charset=utf-8":
        assert values["x-request-id"] in body.decode()
        return
    assert values["content-type"] == "application/problem+json"
    problem = json.loads(body)
    assert problem.keys() - {"errors"} == PROBLEM
    assert problem["status"] == status
    assert problem["request_id"] == values["x-request-id"]
    assert status != 405 or values["allow"]
    assert status != 401 or values["www-authenticate"] == "Bearer"


def check_log(log: bytes) -> list[dict[str, Any]]:
    """Parse the lines of a log; check that none has an error or a secret."""
    lines = []
    for text in log.decode().removesuffix("\n").split("\n") if log else []:
        assert MARKER not in text, text
        assert TOKEN not in text, text
        line = json.loads(text)
        assert isinstance(line, dict), text
        assert "error.stack_trace" not in line, text
        assert line["log.level"] not in ("error", "critical"), text
        lines.append(line)
    return lines
