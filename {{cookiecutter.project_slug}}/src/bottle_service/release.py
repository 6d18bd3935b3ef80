"""The ID of the release that runs."""

from pathlib import Path

__all__ = ["release_id"]


def release_id(directory: Path) -> str:
    """Return the ID of the release that holds this package; "" outside of an installed release.

    deploy/install.sh installs a release as `releases/ID`, with the package in its `src`.
    """
    tree = directory.resolve().parents[1]
    return tree.name if tree.parent.name == "releases" else ""
