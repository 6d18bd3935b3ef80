"""The header Idempotency-Key: a client can repeat a request, and the work is done once.

https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header-07
"""

import hashlib
import io
import re
from collections.abc import Callable, Collection
from typing import Any, NamedTuple, Protocol

import msgspec
from bottle import HTTPError, HTTPResponse, Route, request, response

from .auth import SAFE_METHODS
from .problems import Environ, FieldError, Problem
from .routing import JSONBody

__all__ = [
    "IdempotentRoute",
    "KeyedRequest",
    "ResponseStore",
    "StoredResponse",
]

# A string of RFC 8941, section 3.3.3; many clients send the value without quotes.
_KEY = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])+)"|([!#-+\--:<-~]+)')
MAX_KEY_LENGTH = 255
_ENVIRON_KEY = "service.idempotency"


class KeyedRequest(NamedTuple):
    """A request with a key: keys of different clients are different.

    `digest` is the SHA-256 of the method, the URL and the body.
    """

    client_name: str
    key: str
    digest: str


class StoredResponse(NamedTuple):
    """A response that is sent again; the body of a problem, without a type, is its parts."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class ResponseStore(Protocol):
    """Stores responses in the transaction of the work."""

    def begin(self, session: Any, request: KeyedRequest) -> StoredResponse | None:
        """Claim the key for this request, or return the response of a former request.

        Raises Problem: 422 if the key belongs to another request, 409 while that one runs.
        """

    def finish(self, session: Any, request: KeyedRequest, response: StoredResponse) -> None:
        """Store the response of the request that has claimed its key."""


class IdempotentRoute:
    """The option `idempotent`: stores the responses of a route, and sends them again.

    Responses below status 400 are stored in the transaction of the handler's `session`; errors
    below 500 that the work had are stored after its rollback. Errors that precede the work, such as
    a 422 for an invalid body, and those from 500 on are not stored, so a repetition runs again.
    """

    def __init__(
        self, route: Route, store: ResponseStore | None, dependencies: Collection[str]
    ) -> None:
        """Raise TypeError that says what to change, if the route cannot be idempotent.

        `dependencies` are the names of those that the handler opens for each request.
        """
        option = route.config["idempotent"]
        if option not in (True, "required"):
            raise TypeError(f'idempotent must be True or "required", not {option!r}')
        if store is None:
            raise TypeError("is idempotent; add the dependency `idempotency_keys` in app.py")
        if route.method in SAFE_METHODS:
            raise TypeError(f"{route.method} changes nothing; remove the option `idempotent`")
        if route.config.get("public"):
            raise TypeError("is public, so keys have no client; remove the option `idempotent`")
        if "session" not in dependencies:
            raise TypeError("is idempotent in the transaction of `session`; add this parameter")
        self._store = store
        self._is_required = option == "required"

    def around_request(
        self, handler: Callable[..., Any], open_session: Callable[[str], Any]
    ) -> Callable[..., Any]:
        """Return a handler that reads the key, and stores an error of the work."""

        def handle(**arguments: Any) -> Any:
            environ = request.environ
            keyed = self._read(environ)
            if keyed is None:
                return handler(**arguments)
            environ[_ENVIRON_KEY] = claim = _Claim(keyed)
            try:
                return handler(**arguments)
            except HTTPResponse as error:
                if claim.is_new and error.status_code < 500:
                    with open_session(environ["REQUEST_METHOD"]) as session:
                        self._store.finish(session, keyed, _snapshot_error(error))
                raise

        return handle

    def around_work(self, work: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
        """Return a function that runs the work, or sends the response of a former request."""

        def run(arguments: dict[str, Any]) -> Any:
            claim = request.environ.get(_ENVIRON_KEY)
            if claim is None:
                return work(arguments)
            session = arguments["session"]
            if stored := self._store.begin(session, claim.keyed):
                return _replay(stored)
            claim.is_new = True
            result = work(arguments)
            self._store.finish(session, claim.keyed, _snapshot(result))
            return result

        return run

    def _read(self, environ: Environ) -> KeyedRequest | None:
        """Return the key of the request; the body is read, and can be read again."""
        text = environ.get("HTTP_IDEMPOTENCY_KEY")
        if text is None:
            if self._is_required:
                raise Problem(400, "Send an Idempotency-Key, such as a random UUID.")
            return None
        found = _KEY.fullmatch(text.strip(" \t"))
        key = (found[2] or re.sub(r"\\(.)", r"\1", found[1])) if found else ""
        # With its quotes and escapes, the key is as long as the OpenAPI document says at most.
        if not 0 < len(key) <= MAX_KEY_LENGTH or len(text) > MAX_KEY_LENGTH + 2:
            raise Problem(
                400, f"Idempotency-Key must be a quoted text of 1 to {MAX_KEY_LENGTH} characters."
            )
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        url = f"{environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}"
        digest = hashlib.sha256(f"{environ['REQUEST_METHOD']} {url}\n".encode() + body)
        return KeyedRequest(environ["service.client_name"], key, digest.hexdigest())


class _Claim:
    """The key of the present request; `is_new` if the work of this request has begun."""

    def __init__(self, keyed: KeyedRequest) -> None:
        self.keyed = keyed
        self.is_new = False


class _ErrorBody(msgspec.Struct):
    detail: str
    errors: list[FieldError]


def _snapshot(result: Any) -> StoredResponse:
    """Return the response to the result of a handler. Cookies are not stored."""
    if isinstance(result, HTTPResponse):
        body = result.body.encode() if isinstance(result.body, str) else result.body or b""
        if not isinstance(body, bytes):
            raise TypeError(f"{request.path}: is idempotent, and cannot store a streamed response")
        headers = list(result.headers.allitems())
        if "Content-Type" not in result.headers:
            headers.append(("Content-Type", result.default_content_type))
        return StoredResponse(result.status_code, headers, body)
    headers, body = list(response.headers.allitems()), result
    if isinstance(result, JSONBody):
        headers, body = [*headers, ("Content-Type", "application/json")], result.content
    return StoredResponse(response.status_code, headers, body)


def _snapshot_error(error: HTTPResponse) -> StoredResponse:
    """Return the parts of an error; a problem is rendered again, with the ID of its request."""
    if not isinstance(error, HTTPError):
        return _snapshot(error)
    detail, errors = getattr(error, "detail", ""), getattr(error, "errors", ())
    body = msgspec.json.encode(_ErrorBody(detail, list(errors)))
    headers = [pair for pair in error.headers.allitems() if pair[0] != "Content-Type"]
    return StoredResponse(error.status_code, headers, body)


def _replay(stored: StoredResponse) -> HTTPResponse:
    """Return the stored response. Raises it if it is an error."""
    headers = dict(stored.headers)
    if stored.status >= 400 and "Content-Type" not in headers:
        error = msgspec.json.decode(stored.body, type=_ErrorBody)
        raise Problem(stored.status, error.detail, headers=headers, errors=tuple(error.errors))
    replayed = HTTPResponse(stored.body, stored.status)
    for name, value in stored.headers:
        replayed.add_header(name, value)
    if stored.status >= 400:
        raise replayed
    return replayed
