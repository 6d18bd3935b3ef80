"""One request and its response, as the access log and the metrics record it."""

from typing import Any, Protocol

from msgspec import Struct

__all__ = ["Exchange", "Recorder"]


class Exchange(Struct):
    """A request and its response (RFC 9110, section 3.4); `started` is of time.perf_counter().

    `error` is the exception that no response, or half of one, was sent for.
    """

    environ: dict[str, Any]
    request_id: str
    started: float
    seconds: float = 0.0
    status: int = 500  # unless a response was started
    bytes_sent: int = 0
    error: BaseException | None = None


class Recorder(Protocol):
    """Is called when a request starts, and when the last byte of its response was passed on."""

    def request_started(self) -> None: ...
    def request_finished(self, exchange: Exchange) -> None: ...
