"""Git repositories: of generated projects, and of the template as it lies here."""

import os
from pathlib import Path

from .template import TEMPLATE, run

IDENTITY = {
    f"GIT_{role}_{name}": value
    for role in ("AUTHOR", "COMMITTER")
    for name, value in (("NAME", "Owner"), ("EMAIL", "owner@example.com"))
} | {"GIT_CONFIG_GLOBAL": os.devnull}


def git(*arguments: str | Path, cwd: Path) -> str:
    """Run git as the owner, without the settings of whoever runs the tests."""
    return run("git", *arguments, cwd=cwd, **IDENTITY)


def commit(project: Path, message: str) -> None:
    """Commit all that is in the directory, which becomes a repository with that."""
    git("init", "--quiet", "--initial-branch=main", cwd=project)
    git("add", "--all", cwd=project)
    git("commit", "--quiet", "--message", message, cwd=project)


def clone_as_it_lies(target: Path) -> Path:
    """Make a repository with the template's history and, as its last commit, its working tree."""
    git("clone", "--quiet", "--no-checkout", TEMPLATE, target, cwd=TEMPLATE)
    here = ("--git-dir", target / ".git", "--work-tree", TEMPLATE)
    git(*here, "add", "--all", cwd=TEMPLATE)
    git(*here, "commit", "--quiet", "--allow-empty", "--message", "Now", cwd=TEMPLATE)
    return target
