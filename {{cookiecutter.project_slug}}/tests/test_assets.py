"""Static files under names that change with their content."""

import gzip
import json
import os
import re
from pathlib import Path

import pytest
from webtest import TestApp

from {{ cookiecutter.package_name }}.__main__ import main
from {{ cookiecutter.package_name }}.assets import FOREVER, MANIFEST, Assets
from {{ cookiecutter.package_name }}.environment import BootError

from .service import COMMAND, application


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "static"
    (directory / "img").mkdir(parents=True)
    (directory / "app.css").write_text("body {}" * 100)
    (directory / "img" / "dot.png").write_bytes(b"png")
    (directory / "data.csv.gz").write_bytes(b"gz")
    (directory / ".hidden").write_text("")
    (tmp_path / "secret").write_text("secret")
    (directory / "link").symlink_to(tmp_path / "secret")
    return directory


def written(directory: Path) -> set[str]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix() for path in files}


def test_names_change_with_the_content(source: Path) -> None:
    before = Assets(source, fingerprints=True).url("app.css")
    assert re.fullmatch(r"/static/app\.[0-9a-f]{12}\.css", before)
    assert Assets(source, fingerprints=True).url("app.css") == before
    (source / "app.css").write_text("")
    assert Assets(source, fingerprints=True).url("app.css") != before
    plain = Assets(source, fingerprints=False)
    assert plain.url("app.css") == "/static/app.css"
    (source / "late.css").write_text("")
    assert plain.url("late.css") == "/static/late.css"


@pytest.mark.parametrize("fingerprints", [False, True])
@pytest.mark.parametrize("name", ["ap.css", "link", ".hidden", "img"])
def test_a_name_of_no_file_fails_in_every_environment(
    source: Path, name: str, fingerprints: bool
) -> None:
    with pytest.raises(LookupError, match=f"'{name}'"):
        Assets(source, fingerprints=fingerprints).url(name)


def test_a_page_loads_what_may_be_kept_for_ever(environ: dict[str, str]) -> None:
    environ |= {"APP_ENV": "production"}
    with application(environ) as app:
        client = TestApp(app)
        page = client.get("/nothing", headers={"Accept": "text/html"}, status=404).text
        (address,) = re.findall(r'href="(/static/[^"]+)"', page)
        assert address != "/static/app.css"
        kept, plain = client.get(address), client.get("/static/app.css")
        assert kept.body == plain.body
        assert kept.headers.getall("Cache-Control") == [FOREVER]
        assert plain.headers.getall("Cache-Control") == ["no-cache"]
        client.get(address, headers={"If-None-Match": kept.headers["ETag"]}, status=304)
        client.get(address.replace(".css", "0.css"), status=404)
        part = client.get(address, headers={"Range": "bytes=0-4"}, status=206)
        assert part.headers.getall("Cache-Control") == [FOREVER]
        beyond = client.get(address, headers={"Range": "bytes=99999-"}, status=416)
        assert beyond.headers.getall("Cache-Control") == ["no-store"]


def test_copies_for_nginx(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    destination, assets = tmp_path / "out", Assets(source, fingerprints=True)
    monkeypatch.setattr(f"{COMMAND[-1]}.__main__.STATIC_DIRECTORY", source)
    mask = os.umask(0o077)
    try:
        main(["assets", str(destination)])
    finally:
        os.umask(mask)
    css, png, data = (assets.names[name] for name in ("app.css", "img/dot.png", "data.csv.gz"))
    files = {"app.css", "app.css.gz", css, f"{css}.gz", "img/dot.png", png, "data.csv.gz", data}
    files.add(MANIFEST)
    assert written(destination) == files
    assert json.loads((destination / MANIFEST).read_text()) == assets.names
    assert gzip.decompress((destination / f"{css}.gz").read_bytes()) == b"body {}" * 100
    for path in (destination / css, destination / "img" / "dot.png"):
        assert path.stat().st_mode & 0o777 == 0o644
        assert path.parent.stat().st_mode & 0o777 == 0o755


def test_the_release_before_stays_and_the_one_before_that_goes(
    source: Path, tmp_path: Path
) -> None:
    destination, names = tmp_path / "out", []
    for text in ("first", "second", "second", "third"):
        (source / "app.css").write_text(text)
        assets = Assets(source, fingerprints=True)
        names.append(assets.names["app.css"])
        assets.write(destination)
    first, second, _, third = names
    assert {second, third} < written(destination)
    assert first not in written(destination)
    assert (destination / "app.css").read_text() == "third"


def test_writing_again_changes_nothing(source: Path, tmp_path: Path) -> None:
    destination = tmp_path / "out"
    Assets(source, fingerprints=True).write(destination)
    before = {path: path.stat().st_mtime_ns for path in destination.rglob("*")}
    Assets(source, fingerprints=True).write(destination)
    assert {path: path.stat().st_mtime_ns for path in destination.rglob("*")} == before


def test_without_files_there_is_nothing_but_the_manifest(tmp_path: Path) -> None:
    for _ in range(2):
        Assets(tmp_path / "none", fingerprints=True).write(tmp_path / "out")
    assert written(tmp_path / "out") == {MANIFEST}


def test_a_directory_of_something_else_is_left_alone(source: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("")
    with pytest.raises(BootError, match="is not empty and has no"):
        Assets(source, fingerprints=True).write(tmp_path / "precious")
    assert written(tmp_path / "precious") == {"file"}
    (tmp_path / "file").write_text("")
    with pytest.raises(BootError, match=r"Not a directory|File exists"):
        Assets(source, fingerprints=True).write(tmp_path / "file")
