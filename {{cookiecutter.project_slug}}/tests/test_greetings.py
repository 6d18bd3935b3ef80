"""The greetings: the response, and its validation."""

import pytest
from webtest import TestApp

GREETINGS = "/api/v1/greetings"


def test_greeting_names_the_client(authenticated_client: TestApp) -> None:
    response = authenticated_client.post_json(GREETINGS, {"name": "Zoë 🙂"})
    assert response.json == {"greeting": "Hello, Zoë 🙂!"}


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/name"]),
        ({"name": ""}, ["/name"]),
        ({"name": "x" * 201}, ["/name"]),
        ({"name": 1, "mood": "good"}, ["/name", "/mood"]),
    ],
)
def test_invalid_name_is_422_and_names_every_field(
    authenticated_client: TestApp, body: object, pointers: list[str]
) -> None:
    response = authenticated_client.post_json(GREETINGS, body, status=422)
    assert [error["pointer"] for error in response.json["errors"]] == pointers


def test_greeting_without_token_is_401(client: TestApp) -> None:
    client.post_json(GREETINGS, {"name": "Zoë"}, status=401)
