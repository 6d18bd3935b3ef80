"""Values that must not appear in logs."""

from typing import Self

__all__ = ["Secret"]


class Secret:
    """A text that neither a log entry nor a traceback shows; `reveal` returns it."""

    def __init__(self, value: str) -> None:
        self._value = value

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the value of a setting. Types with a format of their own override this method."""
        return cls(text)

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"
