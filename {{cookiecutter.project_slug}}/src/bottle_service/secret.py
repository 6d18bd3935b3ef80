"""Values that must not appear in logs."""

__all__ = ["Secret"]


class Secret:
    """A text that neither a log entry nor a traceback shows; `reveal` returns it."""

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"
