"""Forms and queries as HTML sends them, and forms that are shown again with their errors."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from bottle import HTTPResponse
from msgspec import Meta, Struct, to_builtins
from webtest import TestApp
from webtest import Upload as SentFile

from bottle_service.http import Form, Upload
from bottle_service.views import Views

from .apps import client_for, startup_errors

MULTIPART = "multipart/form-data; boundary=b"


class Colour(Enum):
    RED = "red"


class Loan(Struct, forbid_unknown_fields=True):
    """One field of each kind that an empty text is not a value of, and texts."""

    count: int | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    price: Decimal | None = None
    due: date | None = None
    at: datetime | None = None
    opens: time | None = None
    urgent: bool | None = None
    size: Literal["s", "m"] = "m"
    colour: Colour | None = None
    code: Annotated[str, Meta(min_length=3)] | None = None
    note: str = "none"
    hint: str | None = None


class Agreement(Struct, kw_only=True):
    agreed: bool
    newsletter: bool = False
    tags: list[str] = []
    choices: list[Literal["a", "b"]]
    colour: Literal["red", "green"] | None


class Event(Struct):
    local: Annotated[datetime, Meta(tz=False)]
    opens: time


class Photo(Struct):
    photo: Upload | None = None
    more: list[Upload] = []


class RequiredPhoto(Struct):
    photo: Upload


def read(kind: Any, source: str, sent: str) -> Any:
    """Return the status, and the value as Python object or the problem's errors."""
    received: list[Any] = []

    def from_query(query: Any) -> int:
        received.append(query)
        return 1

    def from_form(form: Any) -> int:
        received.append(form)
        return 1

    from_query.__annotations__["query"] = from_form.__annotations__["form"] = kind
    client = client_for(("GET", "/", from_query), ("POST", "/", from_form))
    if source == "query":
        response = client.get(f"/?{sent}", expect_errors=True)
    else:
        content_type = "application/x-www-form-urlencoded"
        response = client.post("/", sent, content_type=content_type, expect_errors=True)
    if response.status_int == 422:
        return {error["pointer"]: error["message"] for error in response.json["errors"]}
    assert response.status_int == 200
    return received[0]


@pytest.mark.parametrize("source", ["query", "form"])
def test_empty_value_is_the_default_unless_it_is_a_text(source: str) -> None:
    fields = Loan.__struct_fields__
    loan = read(Loan, source, "&".join(f"{name}=" for name in fields))
    assert loan == Loan(note="", hint="")


@pytest.mark.parametrize("source", ["query", "form"])
@pytest.mark.parametrize(
    ("sent", "value"),
    [("on", True), ("off", False), ("true", True), ("false", False), ("1", True), ("0", False)],
)
def test_bool_is_read(source: str, sent: str, value: bool) -> None:
    assert read(Loan, source, f"urgent={sent}").urgent is value


@pytest.mark.parametrize("source", ["query", "form"])
def test_unchecked_boxes_are_false_empty_or_none(source: str) -> None:
    expected = Agreement(agreed=False, choices=[], colour=None)
    assert read(Agreement, source, "") == expected
    expected = Agreement(agreed=True, choices=["b", "a"], colour="red")
    assert read(Agreement, source, "agreed=on&choices=b&choices=a&colour=red") == expected


@pytest.mark.parametrize("source", ["query", "form"])
def test_time_without_seconds_is_read(source: str) -> None:
    event = read(Event, source, "local=2026-12-31T23:30&opens=09:15")
    assert event == Event(datetime.fromisoformat("2026-12-31T23:30"), time(9, 15))


@pytest.mark.parametrize("source", ["query", "form"])
@pytest.mark.parametrize(
    ("kind", "sent", "message"),
    [
        (int, "", "A whole number is required."),
        (int, "value=", "A whole number is required."),
        (int, "value=many", "A whole number is required."),
        (int, "value=9223372036854775808", "The number must fit into 64 bits."),
        (Annotated[int, Meta(ge=1, le=9)], "value=0", "A whole number from 1 to 9 is required."),
        (Annotated[int, Meta(ge=1)] | None, "value=0", "A whole number of at least 1 is required."),
        (Annotated[int, Meta(lt=9, gt=0, multiple_of=2)], "value=3",
         "A whole number greater than 0 and less than 9 in steps of 2 is required."),
        (float, "value=x", "A number is required."),
        (Decimal, "value=x", "A number is required."),
        (float, "value=nan", "The number must be finite."),
        (Decimal, "value=sNaN", "The number must be finite."),
        (float, "value=-inf", "The number must be finite."),
        (Decimal, "value=NaN", "The number must be finite."),
        (bool, "value=maybe", "True or false is required."),
        (str, "", "Text is required."),
        (Annotated[str, Meta(min_length=1, max_length=9)], "value=",
         "Text of 1 to 9 characters is required."),
        (Annotated[str, Meta(max_length=1)], "value=ab",
         "Text of at most 1 character is required."),
        (Annotated[str, Meta(pattern="^[a-z]+$")], "value=1",
         "Text in the right format is required."),
        (Annotated[str, Meta(pattern="^[a-z]+$", max_length=9)], "",
         "Text of at most 9 characters in the right format is required."),
        (Annotated[str, Meta(pattern="^[A-Z]{2}-[0-9]{4}$", examples=["AB-1234"])] | None, "value=1",
         "Text such as AB-1234 is required."),
        (date, "value=tomorrow", "A date such as 2026-12-31 is required."),
        (time, "value=noon", "A time such as 23:30 is required."),
        (datetime, "value=", "A date and time with a time zone such as 2026-12-31T23:30:00Z"
         " is required."),
        (datetime, "value=2026-12-31T23:30",
         "The time must have a time zone, such as Z or +01:00."),
        (Literal["s", "m"], "value=x", "One of m, s is required."),
        (Colour, "value=", "One of red is required."),
        (int | date, "value=x", "A whole number or a date such as 2026-12-31 is required."),
        (Annotated[list[str], Meta(min_length=1)], "", "A list of at least 1 value is required."),
        (Upload, "value=", "A file is required."),
        (Upload, "value=a.jpg", "A file is required."),
        (str, "value=%00", "must not contain the character NUL"),
    ],
)  # fmt: skip
def test_message_names_what_is_required(source: str, kind: Any, sent: str, message: str) -> None:
    class Fields(Struct):
        value: kind

    assert read(Fields, source, sent) == {"/value": message}


def test_each_invalid_item_of_a_list_is_reported() -> None:
    class Numbers(Struct):
        numbers: list[int]

    message = "A whole number is required."
    assert read(Numbers, "query", "numbers=1&numbers=x&numbers=&numbers=y") == {
        "/numbers/1": message,
        "/numbers/2": message,
    }


def test_nul_in_an_unknown_name_is_reported() -> None:
    assert read(dict[str, str], "query", "a%00=1") == {"/a\0": "must not contain the character NUL"}


# Files


def file_part(name: str, filename: str, content: bytes) -> bytes:
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
    return f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + content + b"\r\n"


def post(client: TestApp, body: bytes, content_type: str = MULTIPART) -> Any:
    """Post a body that WebTest would encode again."""
    headers = {"Content-Type": content_type}
    return client.request("/", method="POST", body=body, headers=headers, expect_errors=True)


def read_photos(form: Photo) -> list[str]:
    files = [form.photo, *form.more] if form.photo else form.more
    return [file.file.read().decode() for file in files]


@pytest.mark.parametrize(
    ("parts", "contents"),
    [
        ([], []),
        ([file_part("photo", "", b"")], []),
        ([file_part("more", "", b"")], []),
        ([file_part("photo", "", b""), file_part("more", "", b"")], []),
        ([file_part("photo", "a.txt", b"")], [""]),
        ([file_part("photo", "", b"unnamed")], ["unnamed"]),
        ([file_part("more", "a", b"1"), file_part("more", "b", b"2")], ["1", "2"]),
    ],
)
def test_file_input_without_a_file_is_absent(parts: list[bytes], contents: list[str]) -> None:
    client = client_for(("POST", "/", read_photos))
    body = b"".join(parts) + b"--b--\r\n"
    assert post(client, body).json == contents


PAGE = """<form action="/" method="post" enctype="multipart/form-data">
<input type="file" name="photo"><input type="file" name="more" multiple></form>"""


def page() -> HTTPResponse:
    return HTTPResponse(PAGE, headers={"Content-Type": "text/html"})


def test_submitted_form_without_a_file_is_read() -> None:
    client = client_for(("GET", "/", page), ("POST", "/", read_photos))
    form = client.get("/").form
    assert form.submit().json == []
    form["photo"] = SentFile("a.txt", b"content")
    assert form.submit().json == ["content"]


def test_required_file_that_is_not_chosen_is_422() -> None:
    def handler(form: RequiredPhoto) -> int:
        return 1

    client = client_for(("POST", "/", handler))
    body = file_part("photo", "", b"") + b"--b--\r\n"
    problem = post(client, body).json
    assert problem["errors"] == [{"pointer": "/photo", "message": "A file is required."}]


def test_repeated_texts_keep_their_order_whatever_their_size() -> None:
    def handler(form: Agreement) -> list[str]:
        return form.tags

    sent = [("tags", "a"), ("tags", "b" * 70_000), ("tags", "c"), ("agreed", "on")]
    client = client_for(("POST", "/", handler))
    for content_type in ("multipart/form-data", "application/x-www-form-urlencoded"):
        tags = client.post("/", sent, content_type=content_type).json
        assert [tag[0] for tag in tags] == ["a", "b", "c"]


# Forms with their errors

VIEW = """<form method="post">
<input name="title" value="{{form.values.get("title", "")}}">
<p class="title">{{form.errors.get("title", "")}}</p>
<input name="count" value="{{form.values.get("count", "")}}">
<p class="count">{{form.errors.get("count", "")}}</p>
<input type="checkbox" name="urgent" {{"checked" if form.values.get("urgent") else ""}}>
% for tag in form.values.get("tags", []):
<input name="tags" value="{{tag}}">
% end
</form>"""


class NewLoan(Struct, forbid_unknown_fields=True):
    title: Annotated[str, Meta(min_length=1)]
    count: int
    urgent: bool
    tags: list[str] = []
    photo: Upload | None = None


@pytest.fixture
def loans(tmp_path: Path) -> TestApp:
    """A client of a page with a form that is shown again while it is invalid."""
    (tmp_path / "loan.tpl").write_text(VIEW)
    views = Views(tmp_path)

    def new(views: Views) -> HTTPResponse:
        return views.page("loan", form=Form())

    def create(form: Form[NewLoan], views: Views) -> HTTPResponse:
        if form.data is None:
            page = views.page("loan", form=form)
            page.status = 422
            return page
        return HTTPResponse(f"{form.data.title} {form.data.count} {form.data.urgent}")

    routes = ("GET", "/", new), ("POST", "/", create)
    return client_for(*routes, dependencies={"views": views})


def test_form_is_shown_again_with_what_was_typed(loans: TestApp) -> None:
    form = loans.get("/").form
    form["title"], form["count"], form["urgent"] = "Drill <b>", "some", True
    page = form.submit(status=422)
    again = page.form
    assert (again["title"].value, again["count"].value) == ("Drill <b>", "some")
    assert again["urgent"].checked
    assert page.html.select_one(".count").text == "A whole number is required."
    assert page.html.select_one(".title").text == ""
    again["count"] = "3"
    assert again.submit().text == "Drill <b> 3 True"


def test_form_has_its_values_and_all_errors() -> None:
    forms: list[Any] = []

    def handler(form: Form[NewLoan]) -> int:
        forms.append(form)
        return 1

    client = client_for(("POST", "/", handler))
    sent = [("count", "1"), ("count", "2"), ("tags", "a"), ("x/~y", "z")]
    photo = ("photo", SentFile("a.txt", b"content"))
    client.post("/", [*sent, photo], content_type="multipart/form-data")
    form = forms[-1]
    assert form.data is None
    assert form.values == {"count": "2", "tags": ["a"], "x/~y": "z"}
    assert form.errors == {
        "title": "Text of at least 1 character is required.",
        "count": "This field is given more than once.",
        "x/~y": "This field is unknown.",
    }
    client.post("/", [("title", "Drill"), ("count", "2")])
    form = forms[-1]
    assert to_builtins(form.data) == {
        "title": "Drill", "count": 2, "urgent": False, "tags": [], "photo": None
    }  # fmt: skip
    assert (form.values, form.errors) == ({"title": "Drill", "count": "2"}, {})


def test_error_of_the_whole_form_has_no_name() -> None:
    class Period(Struct):
        start: date
        end: date

        def __post_init__(self) -> None:
            if self.end < self.start:
                raise ValueError("The end is before the start.")

    def handler(form: Form[Period]) -> Any:
        return form.errors

    client = client_for(("POST", "/", handler))
    errors = client.post("/", [("start", "2026-02-01"), ("end", "2026-01-01")]).json
    assert errors == {"": "The end is before the start."}


def test_malformed_form_is_rejected_also_with_its_errors() -> None:
    def handler(form: Form[NewLoan]) -> int:
        return 1

    client = client_for(("POST", "/", handler))
    assert post(client, b"{}", "application/json").status_int == 415
    assert post(client, b"junk").status_int == 400


def test_form_without_a_type_is_rejected_at_startup() -> None:
    def handler(form: Form) -> int:  # type: ignore[type-arg]
        return 1

    assert "as in Form[LoanForm]" in startup_errors(("POST", "/", handler))


def test_time_of_a_form_is_utc() -> None:
    loan = read(Loan, "form", "at=2026-12-31T23:30:00%2B01:00")
    assert loan.at == datetime(2026, 12, 31, 22, 30, tzinfo=UTC)
    assert loan.at.tzinfo is UTC
