"""Static files. Remove this file together with the route /static/, if your service has none."""

import pytest
from webtest import TestApp

from .service import SERVICE

DIRECTORY = SERVICE.directory / "static"


@pytest.fixture
def url() -> str:
    """The URL of the first static file."""
    files = sorted(path for path in DIRECTORY.rglob("[!.]*") if path.is_file())
    if not files:
        pytest.skip(f"there is no static file in {DIRECTORY}")
    return f"/static/{files[0].relative_to(DIRECTORY).as_posix()}"


def test_static_file_is_sent(client: TestApp, url: str) -> None:
    content = DIRECTORY.parent.joinpath(url.removeprefix("/")).read_bytes()
    assert client.get(url).body == content


def test_unchanged_file_is_304(client: TestApp, url: str) -> None:
    etag = client.get(url).headers["ETag"]
    assert client.get(url, headers={"If-None-Match": etag}, status=304).body == b""


def test_range_of_unchanged_file_is_206(client: TestApp, url: str) -> None:
    whole = client.get(url)
    headers = {"Range": "bytes=5-", "If-Range": whole.headers["ETag"]}
    assert client.get(url, headers=headers, status=206).body == whole.body[5:]


def test_range_of_changed_file_is_the_whole_file(client: TestApp, url: str) -> None:
    headers = {"Range": "bytes=5-", "If-Range": '"another-version"'}
    assert client.get(url, headers=headers, status=200).body == client.get(url).body


@pytest.mark.parametrize(
    "path",
    ["", "nothing", "../settings.py", "%2e%2e/settings.py", "/etc/passwd", ".hidden", "a" * 300],
)
def test_path_that_is_not_a_static_file_is_404(client: TestApp, path: str) -> None:
    client.get(f"/static/{path}", status=404)


def test_path_with_zero_byte_is_400(client: TestApp) -> None:
    client.get("/static/%00", status=400)
