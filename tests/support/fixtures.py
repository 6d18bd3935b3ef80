"""Types of the shared fixtures."""

from collections.abc import Callable
from pathlib import Path

Generate = Callable[..., Path]
Needs = Callable[..., None]
