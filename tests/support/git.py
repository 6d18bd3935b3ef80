"""Git repositories of generated projects, and of the template with its working tree."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from .generate import TEMPLATE
from .process import run

IDENTITY = {
    f"GIT_{role}_{name}": value
    for role in ("AUTHOR", "COMMITTER")
    for name, value in (("NAME", "Owner"), ("EMAIL", "owner@example.com"))
} | {"GIT_CONFIG_GLOBAL": os.devnull}


def git(*arguments: str | Path, cwd: Path) -> str:
    """Run git as the owner, without the user's own Git settings."""
    return run("git", *arguments, cwd=cwd, **IDENTITY)


def redirected(repositories: Mapping[str, Path]) -> dict[str, str]:
    """Return variables with which Git takes a repository of this machine for each address."""
    environ = {"GIT_CONFIG_COUNT": str(len(repositories))}
    for number, (address, repository) in enumerate(repositories.items()):
        environ[f"GIT_CONFIG_KEY_{number}"] = f"url.{repository}.insteadOf"
        environ[f"GIT_CONFIG_VALUE_{number}"] = address
    return environ


def commit(project: Path, message: str) -> None:
    """Commit the whole directory; initialize the repository if it is not one yet."""
    git("init", "--quiet", "--initial-branch=main", cwd=project)
    git("add", "--all", cwd=project)
    git("commit", "--quiet", "--message", message, cwd=project)


def clone_working_tree(target: Path) -> Path:
    """Clone the template's history and commit its working tree on top."""
    git("clone", "--quiet", "--no-checkout", TEMPLATE, target, cwd=TEMPLATE)
    here = ("--git-dir", target / ".git", "--work-tree", TEMPLATE)
    git(*here, "add", "--all", cwd=TEMPLATE)
    git(*here, "commit", "--quiet", "--allow-empty", "--message", "Now", cwd=TEMPLATE)
    return target


def tracked_files(*below: str | Path) -> list[str]:
    """Return the files of the template that Git tracks or would add, below these paths."""
    listed = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = git(*listed, *below, cwd=TEMPLATE).split("\0")
    return [name for name in names if (TEMPLATE / name).is_file()]


def copy_working_tree(target: Path) -> Path:
    """Copy the files of the template, without its history."""
    for name in tracked_files():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TEMPLATE / name, target / name)
    return target


def clone_address(template: Path, directory: Path) -> str:
    """Return a URL of the clone, through a link, because Cookiecutter requires "git" in a URL."""
    link = directory / "template.git"
    link.symlink_to(template)
    return f"file://{link}"
