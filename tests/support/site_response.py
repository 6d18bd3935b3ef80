"""An answer of the site, and what holds for each of them."""

import http.client
import json

# The headers that stand once on every answer.
HEADERS = [
    "Cache-Control",
    "Content-Security-Policy",
    "Cross-Origin-Opener-Policy",
    "Cross-Origin-Resource-Policy",
    "Referrer-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-Request-ID",
]


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def check_headers(self) -> None:
        found = {name: len(self.headers.get_all(name, [])) for name in HEADERS}
        assert found == dict.fromkeys(HEADERS, 1)

    def check_problem(self, status: int) -> None:
        assert self.status == status
        assert self.headers["Content-Type"] == "application/problem+json"
        problem = json.loads(self.body)
        assert problem["status"] == status
        assert problem["request_id"] == self.headers["X-Request-ID"]
        assert set(problem) == {"type", "title", "status", "detail", "request_id"}
        self.check_headers()
