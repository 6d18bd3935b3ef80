"""Route of the tests that returns the WSGI environ; the fixture adds it to the service's routes."""

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

    for method in ("GET", "POST"):
        app.route("/echo", method, echo, raw=True, public=True)
