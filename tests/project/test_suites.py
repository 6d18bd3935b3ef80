"""Checks of each combination that differs in code: style, types, suite, server."""

import itertools
import os
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

from ..support.fixtures import Generate
from ..support.generate import Answers, name_of
from ..support.matrix import EMBEDDED, GROUPS, LARGEST, LONGEST, PACKAGES, SMALLEST
from ..support.process import check_types, run

# Long and short names. They sort before and after the libraries and `tests`, which concerns style only.
NAMES = {
    "longest": LONGEST,
    "shortest": {"project_name": "U", "project_slug": "ub"},
    "first": {"project_slug": "a" * 39},
    "shortest-first": {"project_slug": "ab"},
}
LENGTHS = ("longest", "shortest")


def check_style(project: Path) -> str:
    """Check style and format."""
    run("ruff", "check", "--no-cache", cwd=project)
    return run("ruff", "format", "--no-cache", "--check", cwd=project)


def run_suite(project: Path) -> str:
    """Run the project's suite; no test may be skipped."""
    summary = run("pytest", "--color=no", cwd=project)
    assert re.search(r"^[0-9]+ passed in", summary, re.MULTILINE), summary
    return summary.splitlines()[-1]


def check_project(project: Path) -> str:
    """Check style, types and shell scripts, and run the suite."""
    check_style(project)
    check_types(project)
    run("shellcheck", *project.glob("deploy/**/*.sh"), cwd=project)
    return run_suite(project)


def check_supervisord(project: Path) -> str:
    """Check the files that differ from the project under systemd: tests/template/test_combinations.py."""
    check_style(project)
    run("shellcheck", *project.glob("deploy/**/*.sh"), cwd=project)
    summary = run("pytest", "--color=no", "-k", "deploy or nginx or settings", cwd=project)
    return summary.splitlines()[-1]


def run_server(project: Path) -> str:
    """Run the shared cases over TCP and a unix socket; no case may be skipped."""
    counts = set()
    for kind in ("tcp", "unix"):
        printed = run("pytest", "--color=no", "--server", kind, cwd=project)
        (count,) = re.findall(r"^(\d+) shared cases passed", printed, re.MULTILINE)
        assert re.search(rf"^{count} passed, [0-9]+ deselected in", printed, re.MULTILINE), printed
        counts.add(count)
    return f"{' and '.join(counts)} shared cases"


Check = Callable[[Path], str]
Job = tuple[Check, Answers]

EXTREMES = [SMALLEST, LARGEST]
SUPERVISORD = [answers for answers in EMBEDDED if answers["supervisor"] == "supervisord"]
# The longest checks come first.
JOBS: list[Job] = [
    *itertools.product([run_server], PACKAGES),
    *itertools.product([check_project], PACKAGES),
    *itertools.product([check_supervisord], SUPERVISORD),
    *((run_suite, {**answers, **NAMES[name]}) for answers in EXTREMES for name in LENGTHS),
    *((check_style, {**answers, **names}) for answers in PACKAGES for names in NAMES.values()),
]


def title(job: Job) -> str:
    """Return the test ID of a job."""
    check, answers = job
    own = [name for name, given in NAMES.items() if given.items() <= answers.items()]
    choices = {name: value for name, value in answers.items() if name in GROUPS[0]}
    return "-".join([check.__name__, name_of(choices), *own])


@pytest.fixture(scope="module")
def started(
    request: pytest.FixtureRequest, generated: Generate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[str]]]:
    """Start the jobs of all tests of this module together, so that no core is idle."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        futures: dict[str, Future[str]] = {}
        for item in request.session.items:
            if item.path == request.path and isinstance(item, pytest.Function):
                check, answers = cast(Job, item.callspec.params["job"])
                source = generated(**answers)
                project = tmp_path_factory.mktemp(check.__name__) / source.name
                shutil.copytree(source, project)
                futures[item.nodeid] = pool.submit(check, project)
        yield futures
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("job", JOBS, ids=title)
def test_combination_passes_its_check(
    started: dict[str, Future[str]], request: pytest.FixtureRequest, job: Job
) -> None:
    print(f"{title(job)}: {started[request.node.nodeid].result()}")
