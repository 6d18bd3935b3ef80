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


def test_page_can_have_a_variable_called_name(directory: Path) -> None:
    (directory / "home.tpl").write_text("{{name}}")
    assert Views(directory).page("home", name="Ada").body == b"Ada"


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


BLOCKED = """\
% rebase("layout.tpl", title="<style>")
<script>start()</script>
<style>p { color: red }</style>
<p style="color: red" onclick="start()">{{"<script>"}}</p>
<a href="javascript:start()">start</a>
<img src="data:image/png;base64,AAAA" alt="">
<link rel="stylesheet" href="https://cdn.example/app.css"/>
<form action="//other.example/"></form>
<img src="/static/a.png" srcset="/static/b.png 2x, https://cdn.example/c.png 3x" alt="">
<video src="/static/a.mp4" poster="data:image/png;base64,BBBB"></video>
<button formaction="https://other.example/"></button> <input type="image" src="//cdn.example/b.png">
<svg><image href="https://cdn.example/d.svg"/><use xlink:href="https://cdn.example/e.svg#a"/></svg>
<iframe src="/loans"></iframe> <object data="/static/a.pdf"></object>
<base href="/app/">
"""
ALLOWED = """\
<% # <script>start()</script>
%>
% text = "<script>"
<script src="{{asset('app.js')}}" defer></script>
<a href="https://example.org/">elsewhere</a> <img src="/static/a.png" alt="">
<link rel="canonical" href="https://example.org/"> <form action="/loans" method="post"></form>
<img srcset="/static/a.png, /static/b.png 2x" alt=""> <video src="/static/a.mp4"></video>
<link rel="manifest" href="/static/app.webmanifest"> <input value="https://example.org/">
"""


def test_parts_that_the_policy_blocks_are_found_with_their_lines(directory: Path) -> None:
    (directory / "loans").mkdir()
    (directory / "loans" / "list.tpl").write_text(BLOCKED)
    (directory / "home.tpl").write_text(ALLOWED)
    found = list(Views(directory).blocked())
    assert {path.relative_to(directory).as_posix() for path, _ in found} == {"loans/list.tpl"}
    policy = "the Content-Security-Policy blocks"
    assert [reason.replace(f" {policy}", "").partition(";")[0] for _, reason in found] == [
        "line 2: <script> with code",
        "line 3: <style>",
        "line 4: style=",
        "line 4: onclick=",
        "line 5: href=javascript:",
        "line 6: 'data:image/png",
        "line 7: 'https://cdn.example/app.css'",
        "line 8: '//other.example/'",
        "line 9: 'https://cdn.example/c.png'",
        "line 10: 'data:image/png",
        "line 11: 'https://other.example/'",
        "line 11: '//cdn.example/b.png'",
        "line 12: 'https://cdn.example/d.svg'",
        "line 12: 'https://cdn.example/e.svg#a'",
        "line 13: <iframe>",
        "line 13: <object>",
        "line 14: <base>",
    ]


def test_another_policy_is_sent_and_not_compared(directory: Path) -> None:
    (directory / "home.tpl").write_text(BLOCKED)
    (directory / "layout.tpl").write_text("{{!base}}")
    views = Views(directory, policy="default-src *")
    assert list(views.blocked()) == []
    assert views.page("home").headers["Content-Security-Policy"] == "default-src *"


def test_views_in_directories_are_checked_and_rendered(directory: Path) -> None:
    (directory / "loans").mkdir()
    (directory / "loans" / "row.tpl").write_text("<td>{{name}}</td>")
    (directory / "loans" / "list.tpl").write_text("% include('loans/row.tpl', name='café')\n")
    views = Views(directory, asset=Assets(STATIC, fingerprints=True).url)
    assert views.check() == []
    assert views.page("loans/list").body == "<td>café</td>".encode()
    (directory / "loans" / "list.tpl").write_text("% if:\n")
    ((path, _),) = Views(directory, asset=Assets(STATIC, fingerprints=True).url).check()
    assert path.name == "list.tpl"
