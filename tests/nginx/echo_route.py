"""Routes of the tests, which the fixture adds to the service's routes."""

from bottle import Bottle


def add_routes(app: Bottle) -> None:
    def echo() -> dict[str, str]:
        """Return the environ, with the response headers that the query names."""
        from bottle import request, response

        response.headers.update(request.query)
        environ = request.environ
        return {
            name: str(environ[name])
            for name in environ
            if name.isupper() or name == "wsgi.url_scheme"
        }

    def upload() -> str:
        """Return the size of the body."""
        from bottle import request

        return str(len(request.body.read()))

    def broken_stream() -> object:
        """Fail after the first part of the response."""
        yield b"first"
        raise RuntimeError("the stream broke off")

    app.route("/upload", "POST", upload, raw=True, public=True, max_body=3_000_000)
    app.route("/broken-stream", "GET", broken_stream, raw=True, public=True)
    for method in ("GET", "POST"):
        app.route("/echo", method, echo, raw=True, public=True)
