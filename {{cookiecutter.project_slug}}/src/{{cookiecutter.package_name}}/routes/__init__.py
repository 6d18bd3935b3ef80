"""The routing table: every URL of the service, and its handler.

A route requires a bearer token of API_TOKENS. Options:

    public=True             no token is required
    admin=True              ADMIN_TOKEN is required
    status=201              the status of a success; 204 sends no body
    location="/x/{0.id}"    a Location header: the handler's result, percent-encoded
    max_body=10_000_000     the largest body in bytes, instead of MAX_BODY_BYTES
    redirect_slashes=True   the URL with a slash at its end redirects to this one
    raw=True                a plain Bottle handler, which may use `bottle.request`

`<note_id:id>` is a positive integer that fits a database column. Bottle's own filters (`:int`,
`:path`, `:re:…`) work too.
"""

from bottle import Bottle

# <% if cookiecutter.database != "none" %>
from . import health, notes, pages
# <% else %>
from . import greetings, health, pages
# <% endif %>


def add_routes(app: Bottle) -> None:
    app.route("/", "GET", pages.home, public=True)
    app.route("/static/<path:path>", "GET", pages.static, public=True)

    app.route("/livez", "GET", health.live, public=True)
    app.route(["/readyz", "/health"], "GET", health.ready, public=True)
    app.route("/metrics", "GET", health.metrics, admin=True)

    # <% if cookiecutter.database != "none" %>
    app.route("/api/v1/notes", "GET", notes.index)
    app.route("/api/v1/notes", "POST", notes.create, status=201, location="/api/v1/notes/{0.id}")
    app.route("/api/v1/notes/<note_id:id>", "GET", notes.show)
    app.route("/api/v1/notes/<note_id:id>", "PUT", notes.replace)
    app.route("/api/v1/notes/<note_id:id>", "DELETE", notes.delete, status=204)
    # <% else %>
    app.route("/api/v1/greetings", "POST", greetings.create)
    # <% endif %>
