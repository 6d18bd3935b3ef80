"""Unit tests of the package that every generated project contains.

The tests import `bottle_service` from the template's tree, which Cookiecutter copies. So Python writes
no bytecode here.
"""

import sys
from pathlib import Path

TEMPLATE = Path(__file__).parents[2]
PROJECT = TEMPLATE / "{{cookiecutter.project_slug}}"
SOURCES = PROJECT / "src"

sys.dont_write_bytecode = True
sys.path.insert(0, str(SOURCES))
