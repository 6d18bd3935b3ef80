"""Remove the paths that `__keep` in cookiecutter.json excludes, and print the next steps."""

import json
import os
import shlex
import shutil
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

# cruft renders into directories of its own, and gives no `_output_dir`.
if int("{{ cookiecutter._output_dir | default('') | length }}"):
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
