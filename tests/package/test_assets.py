"""Static files: names that change with the content, safe paths, ranges, and copies for Nginx."""

import gzip
import json
import mimetypes
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from webtest import TestApp

from bottle_service.assets import FOREVER, MANIFEST, Assets
from bottle_service.cli import main
from bottle_service.startup import StartupError

from .apps import client_for
from .sample.app import SERVICE, create_app
from .sample.settings import Settings


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "static"
    (directory / "img").mkdir(parents=True)
    (directory / "app.css").write_text("body {}" * 100)
    (directory / "img" / "dot.png").write_bytes(b"png")
    (directory / "data.csv.gz").write_bytes(b"gz")
    (directory / "unknown").write_text("<script>")
    (directory / ".hidden").write_text("")
    (tmp_path / "secret").write_text("secret")
    (directory / "link").symlink_to(tmp_path / "secret")
    return directory


def client_of(directory: Path) -> TestApp:
    files = Assets(directory, fingerprints=False)
    return client_for(("GET", "/<path:path>", lambda path: files.serve(path)))


def files_in(directory: Path) -> set[str]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix() for path in files}


# Names


def test_fingerprint_changes_with_the_content(source: Path) -> None:
    before = Assets(source, fingerprints=True).url("app.css")
    assert re.fullmatch(r"/static/app\.[0-9a-f]{12}\.css", before)
    assert Assets(source, fingerprints=True).url("app.css") == before
    (source / "app.css").write_text("")
    assert Assets(source, fingerprints=True).url("app.css") != before


def test_without_fingerprints_new_files_are_found(source: Path) -> None:
    plain = Assets(source, fingerprints=False)
    assert plain.url("app.css") == "/static/app.css"
    (source / "late.css").write_text("")
    assert plain.url("late.css") == "/static/late.css"


@pytest.mark.parametrize("fingerprints", [False, True])
def test_url_is_quoted(source: Path, fingerprints: bool) -> None:
    (source / "img" / "a#b ?é%.js").write_text("1")
    assets = Assets(source, fingerprints=fingerprints)
    url = assets.url("img/a#b ?é%.js")
    assert re.fullmatch(r"/static/img/a%23b%20%3F%C3%A9%25(\.[0-9a-f]{12})?\.js", url)
    client = client_for(("GET", "/static/<path:path>", lambda path: assets.serve(path)))
    assert client.get(url).text == "1"


@pytest.mark.parametrize("fingerprints", [False, True])
@pytest.mark.parametrize("name", ["ap.css", "link", ".hidden", "img"])
def test_url_of_an_unknown_file_raises(source: Path, name: str, fingerprints: bool) -> None:
    with pytest.raises(LookupError, match=f"'{name}'"):
        Assets(source, fingerprints=fingerprints).url(name)


def test_page_links_to_files_that_clients_may_keep(environ: dict[str, str]) -> None:
    app = create_app(Settings.load({**environ, "APP_ENV": "production"}))
    client = TestApp(app)
    page = client.get("/nothing", headers={"Accept": "text/html"}, status=404).text
    (url,) = re.findall(r'href="(/static/[^"]+)"', page)
    assert url != "/static/app.css"
    kept, plain = client.get(url), client.get("/static/app.css")
    assert kept.body == plain.body
    assert kept.headers.getall("Cache-Control") == [FOREVER]
    assert plain.headers.getall("Cache-Control") == ["no-cache"]
    client.get(url, headers={"If-None-Match": kept.headers["ETag"]}, status=304)
    client.get(url.replace(".css", "0.css"), status=404)
    part = client.get(url, headers={"Range": "bytes=0-4"}, status=206)
    assert part.headers.getall("Cache-Control") == [FOREVER]
    beyond = client.get(url, headers={"Range": "bytes=99999-"}, status=416)
    assert beyond.headers.getall("Cache-Control") == ["no-store"]
    app.close()


# Responses


@pytest.mark.parametrize(
    "path",
    [
        "/../secret",
        "/%2e%2e/secret",
        "//etc/passwd",
        "/.hidden",
        "/link",
        "/img",
        "/app.css/",
        f"/{'a' * 300}",
    ],
)
def test_path_outside_of_the_files_is_404(source: Path, path: str) -> None:
    response = client_of(source).get(path, status=404)
    assert response.content_type == "application/problem+json"


def test_content_types_do_not_depend_on_the_host(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mimetypes, "_db", mimetypes.MimeTypes())
    mimetypes.add_type("text/html", ".css")
    client = client_of(source)
    assert client.get("/app.css").content_type == "text/css"
    assert client.get("/data.csv.gz").content_type == "application/octet-stream"


def test_unknown_content_type_is_octet_stream(source: Path) -> None:
    assert client_of(source).get("/unknown").content_type == "application/octet-stream"


def test_etag_is_quoted_and_matched(source: Path) -> None:
    client = client_of(source)
    etag = client.get("/app.css").headers["ETag"]
    assert re.fullmatch(r'"[^"]+"', etag)
    assert client.get("/app.css", headers={"If-None-Match": etag}, status=304).body == b""


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        ("*", 304),
        ("W/{etag}", 304),
        ('"other", {etag}', 304),
        ('"a,b" ,W/{etag},"c"', 304),
        ('"other"', 200),
        ('W/"other", "another"', 200),
        ("{unquoted}", 200),
        ("", 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_if_none_match_overrides_if_modified_since(
    source: Path, method: str, tags: str, status: int
) -> None:
    """RFC 9110, sections 13.1.2 and 13.1.3."""
    client = client_of(source)
    whole = client.get("/app.css")
    etag = whole.headers["ETag"]
    sent = tags.format(etag=etag, unquoted=etag.strip('"'))
    for date in (whole.headers["Last-Modified"], "Thu, 01 Jan 1970 00:00:00 GMT"):
        headers = {"If-None-Match": sent, "If-Modified-Since": date, "Range": "bytes=99999-"}
        headers |= {"Range": "bytes=0-"} if status == 200 else {}
        response = client.request("/app.css", method=method, headers=headers)
        assert response.status_int == (206 if (method, status) == ("GET", 200) else status)
        assert response.headers["ETag"] == etag


def test_if_modified_since_is_used_without_if_none_match(source: Path) -> None:
    client = client_of(source)
    date = client.get("/app.css").headers["Last-Modified"]
    client.get("/app.css", headers={"If-Modified-Since": date}, status=304)
    early = {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}
    client.get("/app.css", headers=early, status=200)


@pytest.mark.parametrize("sent", ["bytes=0-4", "bytes=99999-"])
def test_range_of_head_is_ignored(source: Path, sent: str) -> None:
    """RFC 9110, section 14.2."""
    response = client_of(source).head("/app.css", headers={"Range": sent}, status=200)
    assert response.headers["Content-Length"] == "700"
    assert "Content-Range" not in response.headers


def test_if_range_of_another_version_returns_the_whole_file(source: Path) -> None:
    client = client_of(source)
    whole = client.get("/app.css")
    headers = {"Range": "bytes=5-", "If-Range": whole.headers["ETag"]}
    assert client.get("/app.css", headers=headers, status=206).body == whole.body[5:]
    for other in ('"other"', f"W/{whole.headers['ETag']}", "Thu, 01 Jan 1970 00:00:00 GMT"):
        headers["If-Range"] = other
        assert client.get("/app.css", headers=headers, status=200).body == whole.body


@pytest.mark.parametrize(
    ("sent", "status", "content_range"),
    [
        ("bytes=1-2", 206, "bytes 1-2/5"),
        ("bytes=5-", 416, "bytes */5"),
        ("items=0-5", 200, None),
    ],
)
def test_range_is_served(source: Path, sent: str, status: int, content_range: str | None) -> None:
    (source / "a.txt").write_text("12345")
    response = client_of(source).get("/a.txt", headers={"Range": sent}, status=status)
    assert response.headers.get("Content-Range") == content_range
    assert len(response.headers.getall("Cache-Control")) == 1


# Copies for Nginx


def test_collect_static_writes_both_names_and_compressed_copies(
    source: Path, tmp_path: Path
) -> None:
    destination, assets = tmp_path / "out", Assets(source, fingerprints=True)
    mask = os.umask(0o077)
    try:
        main(replace(SERVICE, directory=tmp_path), ["collect-static", str(destination)])
    finally:
        os.umask(mask)
    plain = ["app.css", "img/dot.png", "data.csv.gz", "unknown"]
    css = assets.names["app.css"]
    names = {*plain, *(assets.names[name] for name in plain)}
    assert files_in(destination) == {*names, "app.css.gz", f"{css}.gz", MANIFEST}
    assert json.loads((destination / MANIFEST).read_text()) == assets.names
    assert gzip.decompress((destination / f"{css}.gz").read_bytes()) == b"body {}" * 100
    for path in (destination / css, destination / "img" / "dot.png"):
        assert path.stat().st_mode & 0o777 == 0o644
        assert path.parent.stat().st_mode & 0o777 == 0o755


def test_collect_keeps_the_files_of_one_previous_release(source: Path, tmp_path: Path) -> None:
    destination, names = tmp_path / "out", []
    for text in ("first", "second", "second", "third"):
        (source / "app.css").write_text(text)
        assets = Assets(source, fingerprints=True)
        names.append(assets.names["app.css"])
        assets.collect(destination)
    first, second, _, third = names
    assert {second, third} < files_in(destination)
    assert first not in files_in(destination)
    assert (destination / "app.css").read_text() == "third"


def test_collect_again_changes_nothing(source: Path, tmp_path: Path) -> None:
    destination = tmp_path / "out"
    Assets(source, fingerprints=True).collect(destination)
    before = {path: path.stat().st_mtime_ns for path in destination.rglob("*")}
    Assets(source, fingerprints=True).collect(destination)
    assert {path: path.stat().st_mtime_ns for path in destination.rglob("*")} == before


def test_collect_without_files_writes_the_manifest_only(tmp_path: Path) -> None:
    for _ in range(2):
        Assets(tmp_path / "none", fingerprints=True).collect(tmp_path / "out")
    assert files_in(tmp_path / "out") == {MANIFEST}


def test_collect_rejects_a_directory_of_other_files(source: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("")
    with pytest.raises(StartupError, match="is not empty and has no"):
        Assets(source, fingerprints=True).collect(tmp_path / "precious")
    assert files_in(tmp_path / "precious") == {"file"}
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match=r"Not a directory|File exists"):
        Assets(source, fingerprints=True).collect(tmp_path / "file")
