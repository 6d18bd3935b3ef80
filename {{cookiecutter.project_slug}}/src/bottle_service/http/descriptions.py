"""Headers of route options, as parts of an OpenAPI operation.

A part is a dict with `parameters` (Parameter Objects), `responses` (descriptions by status) and
`headers` of a success (Header Objects by name). The type IfMatch has one, too: `IfMatch.openapi`.
"""

from collections.abc import Iterator
from typing import Any

from bottle import Route

from .idempotency import MAX_KEY_LENGTH

__all__ = ["describe_options"]

TEXT = {"type": "string"}


def describe_options(route: Route) -> Iterator[dict[str, Any]]:
    """Yield the parts that the options `etag`, `next_page` and `idempotent` add to the operation."""
    options = route.config
    if options.get("etag") and options.get("status") != 204:
        yield {"headers": {"ETag": {"required": True, "schema": TEXT}}}
        if route.method == "GET":
            sent = {"name": "If-None-Match", "in": "header", "schema": TEXT}
            yield {"parameters": [sent], "responses": {304: "The client has this version."}}
    if options.get("next_page"):
        description = 'The next page: `<URL>; rel="next"` (RFC 8288). The last page has none.'
        yield {"headers": {"Link": {"schema": TEXT, "description": description}}}
    if option := options.get("idempotent"):
        schema = {**TEXT, "minLength": 1, "maxLength": MAX_KEY_LENGTH + 2}
        key = {"name": "Idempotency-Key", "in": "header", "schema": schema}
        yield {
            "parameters": [{**key, "required": True} if option == "required" else key],
            "responses": {
                409: "The first request with this Idempotency-Key still runs, or rows conflict.",
                422: "Values are invalid, or the Idempotency-Key belongs to another request.",
            },
        }
