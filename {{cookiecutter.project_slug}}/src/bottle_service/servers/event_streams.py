"""Event streams, which a stop of the server cuts."""

import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # gunicorn_hooks.py imports this module, and must not import Bottle
    from ..http.problems import Environ, WSGIApp

__all__ = ["EventStreamMiddleware", "shut_down"]


class EventStreamMiddleware:
    """WSGI middleware that cuts the open responses of type text/event-stream at a stop.

    Such a response has no end. A stop would wait for it, and requests would wait for the stop. Its
    client connects again automatically:
    https://html.spec.whatwg.org/multipage/server-sent-events.html

    `cutter_of` returns a function that cuts the connection of a request.
    """

    def __init__(
        self, app: "WSGIApp", cutter_of: "Callable[[Environ], Callable[[], None]]"
    ) -> None:
        self._app = app
        self._cutter_of = cutter_of
        self._streams: dict[int, Callable[[], None]] = {}

    def __call__(self, environ: "Environ", start_response: Any) -> Iterable[bytes]:
        body = self._app(environ, start_response)
        if environ.get("service.event_stream"):
            return EventStream(body, self._streams, self._cutter_of(environ))
        return body

    def __len__(self) -> int:
        """Return the number of open event streams."""
        return len(self._streams)

    def cut(self) -> None:
        """Cut the connections of all open event streams."""
        for cut in list(self._streams.values()):
            cut()


class EventStream:
    """The body of an event stream, which is among `streams` until the server closes it."""

    def __init__(
        self,
        body: Iterable[bytes],
        streams: dict[int, Callable[[], None]],
        cut: Callable[[], None],
    ) -> None:
        self._body = body
        self._streams = streams
        streams[id(self)] = cut

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        self._streams.pop(id(self), None)
        if hasattr(self._body, "close"):
            self._body.close()


def shut_down(connection: socket.socket) -> None:
    """End both directions of a connection, although another thread still uses it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
