"""The notes: each method, its validation, and the pages of the list."""

import re

import pytest
from webtest import TestApp

NOTES = "/api/v1/notes"


def test_created_note_can_be_read(authenticated_client: TestApp) -> None:
    note = {"title": "Zweig & Söhne", "body": "🙂"}
    created = authenticated_client.post_json(NOTES, note, status=201)
    assert created.headers["Location"] == f"{NOTES}/{created.json['id']}"
    assert note.items() <= created.json.items()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", created.json["created_at"])
    assert authenticated_client.get(created.headers["Location"]).json == created.json


def test_replaced_note_keeps_its_id_and_creation_time(authenticated_client: TestApp) -> None:
    created = authenticated_client.post_json(NOTES, {"title": "First", "body": "text"})
    url = created.headers["Location"]
    if_match = {"If-Match": created.headers["ETag"]}
    replaced = authenticated_client.put_json(url, {"title": "Second"}, headers=if_match).json
    assert (replaced["title"], replaced["body"]) == ("Second", "")
    assert replaced["id"] == created.json["id"]
    assert replaced["created_at"] == created.json["created_at"]
    assert replaced["updated_at"] > created.json["updated_at"]
    assert authenticated_client.get(url).json == replaced


def test_deleted_note_is_404(authenticated_client: TestApp) -> None:
    url = authenticated_client.post_json(NOTES, {"title": "First"}).headers["Location"]
    assert authenticated_client.delete(url, headers={"If-Match": "*"}, status=204).body == b""
    authenticated_client.get(url, status=404)
    authenticated_client.put_json(url, {"title": "Second"}, status=404)
    authenticated_client.delete(url, status=404)


def test_change_of_another_version_is_412_and_of_none_428(authenticated_client: TestApp) -> None:
    created = authenticated_client.post_json(NOTES, {"title": "First"})
    url, first = created.headers["Location"], {"If-Match": created.headers["ETag"]}
    authenticated_client.put_json(url, {"title": "Second"}, headers=first)
    authenticated_client.put_json(url, {"title": "Lost"}, headers=first, status=412)
    authenticated_client.delete(url, headers=first, status=412)
    authenticated_client.put_json(url, {"title": "Lost"}, status=428)
    assert authenticated_client.get(url).json["title"] == "Second"


def test_unchanged_note_keeps_its_etag_and_is_304(authenticated_client: TestApp) -> None:
    created = authenticated_client.post_json(NOTES, {"title": "First"})
    url, tag = created.headers["Location"], created.headers["ETag"]
    replaced = authenticated_client.put_json(url, {"title": "First"}, headers={"If-Match": tag})
    assert replaced.headers["ETag"] == tag
    authenticated_client.get(url, headers={"If-None-Match": tag}, status=304)


def test_repeated_idempotency_key_creates_one_note(authenticated_client: TestApp) -> None:
    key = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
    created, repeated = (
        authenticated_client.post_json(NOTES, {"title": "Once"}, headers=key) for _ in range(2)
    )
    for name in ("Location", "ETag"):
        assert repeated.headers[name] == created.headers[name]
    assert (repeated.status_int, repeated.body) == (201, created.body)
    authenticated_client.post_json(NOTES, {"title": "Another"}, headers=key, status=422)


def test_pages_contain_every_note_once(authenticated_client: TestApp) -> None:
    created = [
        authenticated_client.post_json(NOTES, {"title": f"{i}"}).json["id"] for i in range(5)
    ]
    listed: list[int] = []
    url = f"{NOTES}?limit=2&after={created[0] - 1}"
    while url:
        page = authenticated_client.get(url)
        listed += [note["id"] for note in page.json["items"]]
        link = re.fullmatch('<(.+)>; rel="next"', page.headers.get("Link", ""))
        url = link[1] if link else ""
    assert listed == created


def test_page_contains_20_notes_by_default(authenticated_client: TestApp) -> None:
    first = authenticated_client.post_json(NOTES, {"title": "first"}).json["id"]
    for i in range(20):
        authenticated_client.post_json(NOTES, {"title": f"{i}"})
    page = authenticated_client.get(NOTES, {"after": first - 1}).json
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
        ({"title": "x", "colour": "red"}, ["/colour"]),
    ],
)
def test_invalid_note_is_422_and_names_every_field(
    authenticated_client: TestApp, body: object, pointers: list[str]
) -> None:
    response = authenticated_client.post_json(NOTES, body, status=422)
    assert [error["pointer"] for error in response.json["errors"]] == pointers


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "after=-1",
        f"after={2**63}",
        "page=2",
        "limit=1&limit=2",
    ],
)
def test_invalid_query_is_422(authenticated_client: TestApp, query: str) -> None:
    authenticated_client.get(f"{NOTES}?{query}", status=422)


@pytest.mark.parametrize("note_id", ["0", "01", "-1", "x", "1.0", "%D9%A3", "9" * 19, "9" * 5000])
def test_invalid_id_is_404(authenticated_client: TestApp, note_id: str) -> None:
    authenticated_client.get(f"{NOTES}/{note_id}", status=404)


def test_unknown_id_is_404_and_is_named(authenticated_client: TestApp) -> None:
    unknown = "9" * 18  # the largest valid ID
    response = authenticated_client.get(f"{NOTES}/{unknown}", status=404)
    assert response.json["detail"] == f"There is no note {unknown}."


def test_notes_without_token_are_401(client: TestApp) -> None:
    client.get(NOTES, status=401)
    client.post_json(NOTES, {"title": "First"}, status=401)
