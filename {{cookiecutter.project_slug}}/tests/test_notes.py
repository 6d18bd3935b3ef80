"""The notes: every method, what it refuses, and that pages are complete."""

import re

import pytest
from webtest import TestApp

NOTES = "/api/v1/notes"


def test_a_note_lives(caller: TestApp) -> None:
    created = caller.post_json(NOTES, {"title": "Zweig & Söhne", "body": "🙂"}, status=201)
    place = created.headers["Location"]
    assert place == f"{NOTES}/{created.json['id']}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", created.json["created_at"])
    assert caller.get(place).json == created.json

    replaced = caller.put_json(place, {"title": "Second"}).json
    assert (replaced["title"], replaced["body"]) == ("Second", "")
    assert replaced["created_at"] == created.json["created_at"]
    assert replaced["updated_at"] > created.json["updated_at"]
    assert caller.get(place).json == replaced

    deleted = caller.delete(place, status=204)
    assert deleted.body == b""
    for method in ("GET", "DELETE"):
        assert caller.request(place, method=method, status=404).json["status"] == 404
    caller.put_json(place, {"title": "Third"}, status=404)


def test_ids_are_not_used_again(caller: TestApp) -> None:
    first = caller.post_json(NOTES, {"title": "a"}).json["id"]
    caller.delete(f"{NOTES}/{first}")
    assert caller.post_json(NOTES, {"title": "b"}).json["id"] > first


def test_pages_hold_every_note_once(caller: TestApp) -> None:
    made = [caller.post_json(NOTES, {"title": f"{i}"}).json["id"] for i in range(5)]
    seen: list[int] = []
    after: int | None = made[0] - 1
    while after is not None:
        page = caller.get(NOTES, {"limit": 2, "after": after}).json
        seen += [note["id"] for note in page["items"]]
        after = page["next"]
    assert seen == made


def test_a_page_has_20_notes_unless_asked(caller: TestApp) -> None:
    first = caller.post_json(NOTES, {"title": "first"}).json["id"]
    for i in range(20):
        caller.post_json(NOTES, {"title": f"{i}"})
    page = caller.get(NOTES, {"after": first - 1}).json
    assert len(page["items"]) == 20
    assert page["next"] == page["items"][-1]["id"]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/title"]),
        ({"title": ""}, ["/title"]),
        ({"title": "x" * 201}, ["/title"]),
        ({"title": 1, "body": 2}, ["/title", "/body"]),
        ({"title": "x", "body": "x" * 10_001}, ["/body"]),
        ({"title": "x", "colour/~": "red"}, ["/colour~1~0"]),
    ],
)
def test_each_wrong_field_is_named(caller: TestApp, body: object, pointers: list[str]) -> None:
    response = caller.post_json(NOTES, body, status=422)
    assert [error["pointer"] for error in response.json["errors"]] == pointers


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "limit=",
        "after=-1",
        "page=2",
        f"after={2**63}",
        "limit=1&limit=2",
    ],
)
def test_a_wrong_query_is_refused(caller: TestApp, query: str) -> None:
    assert caller.get(f"{NOTES}?{query}", status=422).json["status"] == 422


def test_a_query_that_is_not_utf8(caller: TestApp) -> None:
    caller.get(f"{NOTES}?limit=%ff", status=400)


@pytest.mark.parametrize("note_id", ["0", "01", "-1", "x", "1.0", "%D9%A3", "9" * 19, "9" * 5000])
def test_what_is_no_id_is_not_found(caller: TestApp, note_id: str) -> None:
    assert caller.get(f"{NOTES}/{note_id}", status=404).json["status"] == 404


def test_the_largest_id_is_looked_up(caller: TestApp) -> None:
    response = caller.get(f"{NOTES}/{'9' * 18}", status=404)
    assert "no note" in response.json["detail"]
