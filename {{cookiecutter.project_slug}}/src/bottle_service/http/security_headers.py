"""Default security headers of every response.

https://cheatsheetseries.owasp.org/cheatsheets/REST_Security_Cheat_Sheet.html#security-headers
"""

from .problems import Headers

__all__ = ["DEFAULT_HEADERS", "missing_headers"]

# A handler that sets one of these headers replaces the default. Nginx adds the same defaults to
# the responses that it creates (deploy/nginx).
DEFAULT_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
    ("Cache-Control", "no-store"),
]


# Usual headers that are not among the defaults.
_OTHER_HEADERS = frozenset(
    {"Allow", "Content-Type", "Content-Length", "Etag", "Link", "Location", "X-Request-ID"}
)


def missing_headers(headers: Headers) -> Headers:
    """Return the default headers that are not among these."""
    for name, _ in headers:
        if name not in _OTHER_HEADERS:
            present = {name.lower() for name, _ in headers}
            return [header for header in DEFAULT_HEADERS if header[0].lower() not in present]
    return DEFAULT_HEADERS
