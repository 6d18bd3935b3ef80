"""Remove the paths that `__keep` excludes, link the project to the template, print the next steps."""

import json
import os
import re
import shlex
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

KEEP = json.loads(r"""{{ cookiecutter.__keep | tojson }}""")

# In reverse order, so that a file comes before its directory.
for name, keep in sorted(KEEP.items(), reverse=True):
    path = Path(name)
    if keep not in ("True", "False") or not path.exists():
        raise SystemExit(f"ERROR: a mistake in the template's __keep: {name!r} is {keep!r}")
    if keep == "False":
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        # Git keeps no empty directory, so neither does a new project.
        while not any(path.parent.iterdir()):
            path = path.parent
            path.rmdir()

ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
TEMPLATE = r"""{{ cookiecutter._repo_dir | default('') }}"""


def git(*arguments: str) -> str:
    """Run git in the template. Raises OSError and subprocess.CalledProcessError."""
    # Git sets these variables in its hooks, where they name another repository.
    others = ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE")
    environ = {name: value for name, value in os.environ.items() if name not in others}
    command = ["git", "-C", TEMPLATE, *arguments]
    done = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def link() -> None:
    """Write .cruft.json for `make update-template`, if another machine can find this template.

    It needs an address, and a commit that is on a remote branch or a tag, without changes. A
    password in the address is left out.
    """
    with suppress(OSError, subprocess.CalledProcessError):
        address = re.sub(r"(?<=^https://)[^/@]*@", "", git("config", "remote.origin.url"))
        is_whole = Path(git("rev-parse", "--show-toplevel")).samefile(TEMPLATE)
        is_pushed = git("for-each-ref", "--contains=HEAD", "refs/remotes", "refs/tags")
        if ":" in address and is_whole and is_pushed and not git("status", "--porcelain"):
            answers = {name: text for name, text in ANSWERS.items() if not name.startswith("_")}
            state = {
                "template": address,
                "commit": git("rev-parse", "HEAD"),
                "checkout": None,
                "context": {"cookiecutter": answers},
                "directory": None,
            }
            Path(".cruft.json").write_text(json.dumps(state, indent=2) + "\n")


# cruft renders into directories of its own, and gives no `_output_dir`.
if int("{{ cookiecutter._output_dir | default('') | length }}"):
    link()
    # Where the user stands is known to the shell alone; where it does not say, take the whole path.
    ways = [str(Path.cwd())]
    stands = os.environ.get("PWD", "")
    if Path(stands).is_absolute():
        ways.append(os.path.relpath(ways[0], os.path.realpath(stands)))
    text = f"""
  The service is generated. Next:

    cd {shlex.quote(min(ways, key=len))}
    git init -b main && git add . && git commit -m "Generate the service"
    make run

"""
    # Nobody may be listening, or not in this encoding: the project is there all the same.
    with suppress(OSError):
        os.write(1, os.fsencode(text))
