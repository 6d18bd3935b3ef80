"""Views: pages from the templates of one directory, checked at startup."""

import shutil
from pathlib import Path

import pytest

from bottle_service.assets import Assets
from bottle_service.views import Views

from .apps import STATIC, VIEWS


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(VIEWS, tmp_path / "views"))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("% if:\n", "invalid syntax"),
        ("% rebase('layuot.tpl')\n", "there is no view 'layuot.tpl'"),
        ("% if title:\n%   include('none')\n% end\n", "there is no view 'none'"),
        ("<p>{{asset('ap.css')}}</p>", "there is no static file 'ap.css'"),
    ],
)
def test_check_reports_a_view_that_cannot_be_rendered(
    directory: Path, source: str, reason: str
) -> None:
    (directory / "home.tpl").write_text(source)
    views = Views(directory, asset=Assets(STATIC, fingerprints=True).url)
    ((path, error),) = views.check()
    assert path.name == "home.tpl"
    assert reason in str(error)


@pytest.mark.parametrize(
    "source",
    [
        "% include('layout', title='')\n% rebase(service)\n asset('x'), include('y')",
        "{{asset('app.css')}} {{asset(service)}}",
    ],
)
def test_check_accepts_references_that_exist_or_vary(directory: Path, source: str) -> None:
    (directory / "home.tpl").write_text(source)
    assert Views(directory, asset=Assets(STATIC, fingerprints=True).url).check() == []


def test_page_is_html_with_a_policy_for_own_files(directory: Path) -> None:
    (directory / "hello.tpl").write_text("<p>{{service}}: {{text}}</p>")
    page = Views(directory, service="Sample").page("hello", text="<b> & café")
    assert page.body == "<p>Sample: &lt;b&gt; &amp; café</p>".encode()
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "style-src 'self'" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", ["none", "% raise SystemExit", "{{1}}"])
def test_page_never_takes_a_name_for_a_source(directory: Path, name: str) -> None:
    with pytest.raises(OSError, match="No such file"):
        Views(directory).page(name)
