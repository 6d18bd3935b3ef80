"""The HTML pages."""

from webtest import TestApp


def test_home_page_is_html_with_its_stylesheet(client: TestApp) -> None:
    page = client.get("/")
    assert page.content_type == "text/html"
    assert page.charset.lower() == "utf-8"
    assert page.html.find("h1").text
    stylesheet = client.get(page.html.find("link")["href"])
    assert stylesheet.content_type == "text/css"


def test_home_page_may_load_own_stylesheets_only(client: TestApp) -> None:
    policy = client.get("/").headers["Content-Security-Policy"]
    assert "default-src 'none'; style-src 'self'" in policy
