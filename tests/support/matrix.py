"""Combinations of answers, grouped by the code that runs."""

from .generate import COMBINATIONS, Answers

# These answers change no line that runs, so one combination represents all that differ only in them.
INERT = ("ci", "license")
LONGEST = {"project_name": "z" * 60, "project_slug": "z" * 39, "description": "d" * 200}


def group_of(answers: Answers) -> Answers:
    """Return the answers that change code."""
    return {name: value for name, value in answers.items() if name not in INERT}


GROUPS = [dict(pairs) for pairs in {tuple(group_of(c).items()): None for c in COMBINATIONS}]
# Projects whose tests need no server of a database. tests/postgresql/ has the others.
EMBEDDED = [answers for answers in GROUPS if answers["database"] != "postgresql"]
# The supervisor changes nothing in the package: template/test_combinations.py.
PACKAGES = [answers for answers in EMBEDDED if answers["supervisor"] == "systemd"]
POSTGRESQL = [{**answers, "database": "postgresql"} for answers in PACKAGES[::2]]
WITHOUT_DATABASE = [answers for answers in PACKAGES if answers["database"] == "none"]
# Debian 13's Nginx instead of this host's. `nginx` is not an answer of a project.
NEWER_NGINX = {**WITHOUT_DATABASE[0], "nginx": "newer"}
# The combinations with the fewest and the most files, of EMBEDDED: template/test_combinations.py.
SMALLEST = {"wsgi_server": "waitress", "database": "none", "supervisor": "supervisord"}
LARGEST = {"wsgi_server": "uwsgi", "database": "sqlite", "supervisor": "systemd"}
# Servers whose locked release has no wheel for a Python release.
NO_WHEEL = {("uwsgi", "3.15"): "no wheel of pyuwsgi for Python 3.15"}
