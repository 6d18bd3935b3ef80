"""The HTML pages."""

from webtest import TestApp


def test_home_page_is_html_with_its_stylesheet(client: TestApp) -> None:
    page = client.get("/")
    assert page.content_type == "text/html"
    assert page.charset.lower() == "utf-8"
    assert page.html.find("h1").text
    stylesheet = client.get(page.html.find("link")["href"])
    assert stylesheet.content_type == "text/css"
