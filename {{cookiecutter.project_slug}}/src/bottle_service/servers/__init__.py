"""The WSGI servers: one module for each, with `check`, `serve` and `prepare_worker`."""

import json

__all__ = ["malformed_request_problem"]


def malformed_request_problem(status: int, title: str) -> bytes:
    """Return problem details (RFC 9457) for a request that the server cannot parse."""
    detail = "The server cannot take this request."
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return json.dumps(problem).encode()
