"""Conditional requests: entity tags and preconditions (RFC 9110, sections 8.8.3 and 13)."""

import re
from collections.abc import Callable
from types import NoneType
from typing import Any, ClassVar, get_args

from .patterns import Pattern, pattern
from .problems import Environ, Problem

__all__ = ["IfMatch", "entity_tag", "if_match_parser", "is_not_modified", "takes_if_match"]

_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


def entity_tag(text: str) -> Pattern:
    """Return a function that fills the route's option `etag`, and quotes it as a strong tag."""
    if '"' in text:
        raise TypeError(f"write the option etag={text!r} without quotes and W/")
    fill = pattern(text)
    return lambda resource: f'"{fill(resource)}"'


class IfMatch:
    """The preconditions of a request that changes a resource.

    A parameter of this type requires the header If-Match; `IfMatch | None` is None without it. The
    route, or another one of the same address, has the option `etag`.
    """

    # The part of an OpenAPI operation: see descriptions.py.
    openapi: ClassVar[dict[str, Any]] = {
        "parameters": [
            {"name": "If-Match", "in": "header", "required": True, "schema": {"type": "string"}}
        ],
        "responses": {
            412: "The resource has another version than the client has read.",
            428: "The request has no If-Match.",
        },
    }

    def __init__(self, environ: Environ, tag_of: Pattern) -> None:
        self._if_match = environ.get("HTTP_IF_MATCH")
        self._if_none_match = environ.get("HTTP_IF_NONE_MATCH")
        self._tag_of = tag_of

    def check(self, resource: Any) -> None:
        """Check that the client knows the present version of the resource, such as a row.

        Call it after the resource was found and before it is changed: RFC 9110, section 13.2.1.
        Raises Problem 412 if the resource has changed, 428 without If-Match, 400 if it is malformed.
        """
        tag = self._tag_of(resource)
        if self._if_match is not None and not _matches_strongly(self._if_match, tag):
            raise Problem(412, "This has changed since you read it: read it again.")
        if self._if_none_match is not None and _matches_weakly(self._if_none_match, tag):
            raise Problem(412, "The version of the If-None-Match header exists.")
        if self._if_match is None:
            raise Problem(428, "Send the ETag of the version that you change as If-Match.")


def takes_if_match(kind: Any) -> bool:
    """Return whether a parameter of this type is IfMatch or `IfMatch | None`."""
    return kind is IfMatch or (IfMatch in get_args(kind) and NoneType in get_args(kind))


def if_match_parser(kind: Any, tag_of: Pattern | None) -> Callable[[Environ], IfMatch | None]:
    """Return a function that reads the preconditions of a request.

    Raises TypeError if no route of the address has the option `etag`.
    """
    if tag_of is None:
        raise TypeError('takes IfMatch: add an option such as etag="{0.version}"')
    is_required = kind is IfMatch

    def parse(environ: Environ) -> IfMatch | None:
        if is_required or "HTTP_IF_MATCH" in environ:
            return IfMatch(environ, tag_of)
        return None

    return parse


def is_not_modified(environ: Environ, tag: str) -> bool:
    """Return whether the client of a GET has this version already (RFC 9110, section 13.1.2)."""
    tags = environ.get("HTTP_IF_NONE_MATCH")
    return tags is not None and _matches_weakly(tags, tag)


def _matches_strongly(tags: str, tag: str) -> bool:
    """Compare as If-Match does: a weak tag never matches (RFC 9110, section 8.8.3.2)."""
    if tags.strip(" \t") == "*":
        return True
    found = _TAG.findall(tags)
    if not found or _TAG.sub("", tags).strip(" \t,"):
        raise Problem(400, 'If-Match must be * or a list of entity tags, such as "7f3a".')
    return tag in found


def _matches_weakly(tags: str, tag: str) -> bool:
    if tags.strip(" \t") == "*":
        return True
    return tag in [found.removeprefix("W/") for found in _TAG.findall(tags)]
