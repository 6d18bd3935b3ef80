"""The setting DATABASE_URL."""

import re
from typing import Self

from ..secret import Secret

__all__ = ["DatabaseUrl"]


class DatabaseUrl(Secret):
    """`sqlite:///relative/path` or `sqlite:////absolute/path`."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the URL. Raises ValueError, which does not quote it."""
        if not re.fullmatch(r"sqlite:///[^?#:]+", text):
            raise ValueError("must be sqlite:///relative/path or sqlite:////absolute/path")
        return cls(text)
