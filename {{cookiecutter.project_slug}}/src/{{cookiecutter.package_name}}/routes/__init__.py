"""The routing table: every URL of the service, and its handler.

A route requires a bearer token of API_TOKENS. Options:

    public=True             no token is required
    admin=True              ADMIN_TOKEN is required
    role="editor"           403 for clients without this role, by `roles_of` of build_application
    status=201              the status of a success; 204 sends no body
    location="/x/{0.id}"    a Location header: the handler's result, percent-encoded
    etag="{0.version}"      an ETag header; a GET can be 304, and `IfMatch.check` compares it
    next_page="after={0.next}"  a Link header to the next page, unless the result's `next` is None
    idempotent=True         a request with the Idempotency-Key of a former one gets its response;
                            "required": requests without a key are 400
    max_body=10_000_000     the largest body in bytes, instead of MAX_BODY_BYTES
    consumes="text/csv"     the content type of `body: bytes`; another one is 415
    redirect_slashes=True   the URL with a slash at its end redirects to this one
    raw=True                a plain Bottle handler, which may use `bottle.request`

These options are for /openapi.json and /docs, which describe all of this table:

    summary="List loans"    instead of the first line of the handler's docstring
    tags=["loans"]          instead of the name of the handler's module
    deprecated=True         clients should not use the route any longer
    responses={409: "…"}    a further status, and its description; below 300 it has the same data

`<note_id:id>` is a positive integer that fits a database column. Bottle's own filters (`:int`,
`:path`, `:re:…`) work too. `<day>` without a filter becomes the type of the handler's parameter,
such as `date`, `UUID` or an Enum.
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

    app.route("/openapi.json", "GET", pages.openapi, public=True)
    app.route("/docs", "GET", pages.docs, public=True)

    app.route("/livez", "GET", health.live, public=True)
    app.route(
        ["/readyz", "/health"], "GET", health.ready, public=True, responses={503: "A check fails."}
    )
    app.route("/metrics", "GET", health.metrics, admin=True)

    # <% if cookiecutter.database != "none" %>
    app.route("/api/v1/notes", "GET", notes.index, next_page="after={0.next}")
    app.route(
        "/api/v1/notes",
        "POST",
        notes.create,
        status=201,
        location="/api/v1/notes/{0.id}",
        etag="{0.version}",
        idempotent=True,
    )
    app.route("/api/v1/notes/<note_id:id>", "GET", notes.show, etag="{0.version}")
    app.route("/api/v1/notes/<note_id:id>", "PUT", notes.replace, etag="{0.version}")
    app.route("/api/v1/notes/<note_id:id>", "DELETE", notes.delete, status=204)
    # <% else %>
    app.route("/api/v1/greetings", "POST", greetings.create)
    # <% endif %>
