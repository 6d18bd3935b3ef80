"""The greetings: what they answer and what they refuse."""

import pytest
from webtest import TestApp

GREETINGS = "/api/v1/greetings"


def test_greeting(caller: TestApp) -> None:
    response = caller.post_json(GREETINGS, {"name": "Zoë 🙂"})
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
def test_each_wrong_field_is_named(caller: TestApp, body: object, pointers: list[str]) -> None:
    response = caller.post_json(GREETINGS, body, status=422)
    assert [error["pointer"] for error in response.json["errors"]] == pointers
