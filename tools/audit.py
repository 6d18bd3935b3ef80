"""Ask the OSV database for known vulnerabilities of what the locks pin: `make audit`.

Ends with 1 if there are any. Where the database cannot be asked, that is said and is no failure.
Arguments go to `uv audit`, such as `--service-url` for another database.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

TEMPLATE = Path(__file__).parents[1]
LOCKS = [
    "requirements.txt",
    "{{cookiecutter.project_slug}}/requirements.txt",
    "{{cookiecutter.project_slug}}/requirements-dev.txt",
]
AUDIT = ["uv", "audit", "--frozen", "--quiet", "--preview-features", "audit-command"]


def main() -> None:
    failed = False
    for name in LOCKS:
        pins = re.findall(r"^(\S+==.*?) \\$", (TEMPLATE / name).read_text(), re.MULTILINE)
        code = audit(pins, sys.argv[1:])
        if code > 1:
            print("not audited: the database cannot be asked", file=sys.stderr)
            break
        failed |= code == 1
        print(
            f"{name}: {len(pins)} pinned, {'see above' if code else 'none with a known vulnerability'}"
        )
    sys.exit(failed)


def audit(pins: list[str], arguments: list[str]) -> int:
    """Return 0 or, for vulnerabilities, which it prints, 1; more where that is not known."""
    with tempfile.TemporaryDirectory() as directory:
        # uv audits projects, so there is one that depends on just these.
        Path(directory, "pyproject.toml").write_text(
            '[project]\nname = "locked"\nversion = "0"\nrequires-python = ">=3.11"\n'
            f"dependencies = {json.dumps(pins)}\n"
        )
        subprocess.run(["uv", "lock", "--quiet"], cwd=directory, check=True)
        return subprocess.run([*AUDIT, *arguments], cwd=directory, check=False).returncode


if __name__ == "__main__":
    main()
