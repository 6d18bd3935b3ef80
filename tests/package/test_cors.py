"""CORS: headers for the scripts of allowed origins, and for no other."""

import pytest

from .apps import client_for

ORIGIN = "https://app.example.com"
ROUTE = (["GET", "PUT"], "/", lambda: 1)


def test_allowed_origin_reads_every_response() -> None:
    client = client_for(ROUTE, cors_origins=[ORIGIN])
    for response in (
        client.put("/", headers={"Origin": ORIGIN}),
        client.get("/nothing", headers={"Origin": ORIGIN}, status=404),
    ):
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert response.headers["Vary"] == "Origin"
        assert response.headers.getall("Cross-Origin-Resource-Policy") == ["cross-origin"]


def test_preflight_allows_the_methods_of_the_route() -> None:
    preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT"}
    client = client_for(ROUTE, cors_origins=[ORIGIN])
    headers = client.options("/", headers=preflight, status=204).headers
    assert headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS, PUT"
    assert "Authorization" in headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize("origin", ["", "null", "https://evil.example", f"{ORIGIN}.evil.example"])
def test_other_origin_gets_no_cors_headers(origin: str) -> None:
    client = client_for(ROUTE, cors_origins=[ORIGIN])
    response = client.get("/", headers={"Origin": origin} if origin else {})
    assert not [name for name in response.headers if name.startswith("Access-Control-")]
    assert response.headers["Vary"] == "Origin"
    assert response.headers.getall("Cross-Origin-Resource-Policy") == ["same-origin"]


def test_without_origins_responses_do_not_vary() -> None:
    assert "Vary" not in client_for(ROUTE).get("/", headers={"Origin": ORIGIN}).headers
