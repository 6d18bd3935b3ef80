"""Names that a Debian host has already: a service of such a name would take a user or a directory."""

import os
import re

import pytest

from hooks.pre_gen_project import problems

from ..support.debian_tree import tree
from ..support.fixtures import Needs
from ..support.generate import CONTEXT, PUBLIC
from .chroot import PROGRAMS


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_name_of_the_host_is_refused(needs: Needs, suite: str) -> None:
    needs(*PROGRAMS, also=os.getuid() == 0, reason="only root can make a Debian tree")
    root = tree(suite)
    names = {
        line.partition(":")[0]
        for file in ("passwd", "group")
        for line in (root / "etc" / file).read_text().splitlines()
    }
    for directory in ("etc", "opt", "run", "var/lib"):
        names |= {path.name for path in (root / directory).iterdir()}
    slugs = [name for name in names if re.fullmatch("[a-z][a-z0-9-]{0,37}[a-z0-9]", name)]
    assert {"root", "nginx", "www-data"} <= set(slugs)
    answers = {name: str(CONTEXT[name]) for name in PUBLIC}
    allowed = [
        slug
        for slug in slugs
        if not any("of Debian" in one for one in problems({**answers, "project_slug": slug}))
    ]
    assert allowed == []
