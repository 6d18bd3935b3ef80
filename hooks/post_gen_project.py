"""Drop what the answers do not ask for. What that is, `__keep` in cookiecutter.json says."""

import json
import shutil
from pathlib import Path

KEEP = json.loads(r"""{{ cookiecutter.__keep | tojson }}""")

for name, keep in KEEP.items():
    path = Path(name)
    if keep not in ("True", "False") or not path.exists():
        raise SystemExit(f"ERROR: a mistake in the template's __keep: {name!r} is {keep!r}")
    if keep == "False":
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        # Git keeps no empty directory, so neither does a new project.
        while not any(path.parent.iterdir()):
            path = path.parent
            path.rmdir()
