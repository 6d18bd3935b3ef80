"""Look up the locked packages in the OSV database of vulnerabilities: `make audit`.

Exit with 1 if there are any. If the database is unreachable, print a message and exit with 0.
Arguments are passed to `uv audit`, such as `--service-url` for another database.
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
    "tests/api_contract/requirements.txt",
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
            print("not audited: the database is unreachable", file=sys.stderr)
            break
        failed |= code == 1
        print(
            f"{name}: {len(pins)} pinned, {'see above' if code else 'none with a known vulnerability'}"
        )
    sys.exit(failed)


def audit(pins: list[str], arguments: list[str]) -> int:
    """Print the vulnerabilities. Return 0 for none, 1 for some, and more if the lookup fails."""
    with tempfile.TemporaryDirectory() as directory:
        # uv audits projects, so make one that depends on these packages only.
        Path(directory, "pyproject.toml").write_text(
            '[project]\nname = "locked"\nversion = "0"\nrequires-python = ">=3.11"\n'
            f"dependencies = {json.dumps(pins)}\n"
        )
        subprocess.run(["uv", "lock", "--quiet"], cwd=directory, check=True)
        return subprocess.run([*AUDIT, *arguments], cwd=directory, check=False).returncode


if __name__ == "__main__":
    main()
