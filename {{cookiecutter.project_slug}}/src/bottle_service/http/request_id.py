"""The ID of the present request, for responses and log entries."""

import os
import re
from contextvars import ContextVar

__all__ = ["current_request_id", "request_id"]

request_id: ContextVar[str] = ContextVar("request_id", default="")
current_request_id = request_id.get

# A client's ID goes into logs and headers, so only these characters are accepted.
_is_safe = re.compile(r"[A-Za-z0-9._-]{8,64}").fullmatch


def accept_or_create(sent: str) -> str:
    """Return the ID that the client sent if it is safe, or a random one of 32 hex digits."""
    return sent if _is_safe(sent) else os.urandom(16).hex()
