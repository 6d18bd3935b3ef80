"""The pages that a browser shows."""

from webtest import TestApp


def test_page(client: TestApp) -> None:
    response = client.get("/")
    assert response.content_type == "text/html"
    assert response.charset.lower() == "utf-8"
    assert "style-src 'self'" in response.headers["Content-Security-Policy"]
    assert response.html.find("h1").text
    sheet = client.get(response.html.find("link")["href"])
    assert sheet.content_type == "text/css"
