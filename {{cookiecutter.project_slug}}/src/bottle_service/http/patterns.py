"""Route options that are patterns of headers, such as `location="/things/{0.id}"`."""

from collections.abc import Callable
from enum import Enum
from string import punctuation
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from .problems import Environ

__all__ = ["PATH_CHARACTERS", "LinkOf", "Pattern", "next_link", "pattern"]

# Returns the text of a header for a handler's result.
Pattern = Callable[[Any], str]
# Returns the header Link for a handler's result, or None for a last page.
LinkOf = Callable[[Environ, Any], str | None]

# The characters of a path that are not encoded (RFC 3986, section 3.3): pchar and the slash.
PATH_CHARACTERS = "/:@!$&'()*+,;="
# In a value of a query, a separator or a plus would be read as another text.
QUERY_CHARACTERS = "/:@!$'()*,"


def pattern(text: str, safe: str = PATH_CHARACTERS) -> Pattern:
    """Return a function that fills a pattern: `{0.id}` is the result's attribute `id`.

    Values are percent-encoded, except for the `safe` characters. The pattern itself is a URL
    already, apart from characters that no URL can have.
    """
    url = quote(text, safe=punctuation)
    return lambda result: url.format(_Quoted(result, safe))


def next_link(text: str) -> LinkOf:
    """Return a function that links to the next page (RFC 8288): the query of the request, changed.

    The pattern is the changed part of the query, such as `after={0.next}`. A result whose `next` is
    None is the last page.
    """
    fill = pattern(text, QUERY_CHARACTERS)
    changed = {name for name, _ in parse_qsl(text)}

    def link(environ: Environ, result: Any) -> str | None:
        following = result["next"] if isinstance(result, dict) else result.next
        if following is None:
            return None
        sent = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        kept = [(name, value) for name, value in sent if name not in changed]
        query = "&".join(filter(None, [urlencode(kept), fill(result)]))
        path = quote(environ.get("SCRIPT_NAME", "") + environ["PATH_INFO"], PATH_CHARACTERS)
        return f'<{path}?{query}>; rel="next"'

    return link


class _Quoted:
    """A value whose attributes and items are percent-encoded when they are formatted.

    Without `?` and `#` the encoded text stays inside the path of a URL (RFC 3986, section 3.3). A
    slash stays, because a wildcard `<name:path>` takes it.
    """

    def __init__(self, value: Any, safe: str) -> None:
        self.__value = value
        self.__safe = safe

    def __getattr__(self, name: str) -> "_Quoted":
        return _Quoted(getattr(self.__value, name), self.__safe)

    def __getitem__(self, key: Any) -> "_Quoted":
        return _Quoted(self.__value[key], self.__safe)

    def __format__(self, spec: str) -> str:
        value = self.__value.value if isinstance(self.__value, Enum) else self.__value
        return quote(format(value, spec), safe=self.__safe)

    def __str__(self) -> str:
        return format(self, "")
