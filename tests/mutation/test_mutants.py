"""Mutation tests of the deploy files: each mutant has to make a test fail.

Every run tries some mutants that need no machine, from a new seed, which a failure prints.
`make mutants` tries all mutants, or those whose location matches a pattern in MUTANTS, such as
'gunicorn/deploy/install.sh:1?', and prints the number that is killed. Mutants that need a machine take
hours.
"""

import dataclasses
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import pytest

from ..support.fixtures import Generate, Needs
from .mutants import (
    MACHINE_TESTS,
    NGINX_TESTS,
    PROJECTS,
    SURVIVORS,
    Mutant,
    killed_by_machine,
    killed_by_nginx,
    killed_by_project,
    killed_by_server,
    known_survivor,
    lines,
    mutants_of,
    required_tests,
)

PATTERNS = os.environ.get("MUTANTS", "").split()
SEED = os.environ.get("MUTANTS_SEED") or str(time.time_ns())
SAMPLE = 6
AT_ONCE = int(os.environ.get("MUTANTS_AT_ONCE") or os.cpu_count() or 1)


@pytest.fixture(scope="module")
def projects(generated: Generate) -> dict[str, Path]:
    """Return the projects whose files are mutated, by name."""
    return {name: generated(**answers) for name, answers in PROJECTS.items()}


@pytest.fixture(scope="module")
def mutants(projects: dict[str, Path]) -> list[Mutant]:
    """Return all mutants; a line that several projects have is mutated in the first of them."""

    def each() -> Iterator[Mutant]:
        tried: set[tuple[str, str]] = set()
        for name, project in projects.items():
            yield from mutants_of(name, project, tried)
            tried |= lines(project)

    return list(each())


def test_known_survivors_are_few_and_exist(mutants: list[Mutant]) -> None:
    counts = Counter(known_survivor(mutant) for mutant in mutants)
    assert counts["equivalent"] <= 0.05 * len(mutants)
    assert counts["untested"] <= 0.1 * (len(mutants) - counts["equivalent"])
    made = {(mutant.file, mutant.line.strip(), mutant.replacement.strip()) for mutant in mutants}
    for entry in [entry for entries in SURVIVORS.values() for entry in entries]:
        assert entry["reason"]
        for replacement in entry["replacements"]:
            assert (entry["file"], entry["line"], replacement) in made


def test_mutants_are_killed(
    mutants: list[Mutant], projects: dict[str, Path], tmp_path: Path, needs: Needs
) -> None:
    needs("nginx", "openssl")
    chosen = [mutant for mutant in mutants if any(map(partial(fnmatch, mutant.location), PATTERNS))]
    assert chosen or not PATTERNS, f"no mutant's location matches {PATTERNS}"
    if not PATTERNS:
        without_machine = [m for m in mutants if not required_tests(MACHINE_TESTS, m)]
        chosen = random.Random(SEED).sample(without_machine, SAMPLE)  # noqa: S311
    # Controls, which change nothing and must survive: one for each list of tests.
    controls = {
        (
            mutant.project,
            *required_tests(NGINX_TESTS, mutant),
            *required_tests(MACHINE_TESTS, mutant),
        ): dataclasses.replace(mutant, replacement=mutant.line)
        for mutant in (chosen if PATTERNS else chosen[:1])
    }.values()
    chosen = [*controls, *(mutant for mutant in chosen if not known_survivor(mutant))]
    killed: dict[Mutant, str] = {}

    def directory(mutant: Mutant) -> Path:
        return tmp_path / f"{chosen.index(mutant)}"

    def printed(mutant: Mutant, test: str) -> str:
        # Print each result at once: a run of hours may be interrupted.
        if test:
            print(f"{mutant}: {test}", flush=True)
        return test

    def try_project(mutant: Mutant) -> str:
        project = shutil.copytree(projects[mutant.project], directory(mutant))
        test = killed_by_project(project, mutant)
        shutil.rmtree(project)
        return printed(mutant, test or killed_by_server(mutant, project))

    def try_nginx(mutants: list[Mutant]) -> dict[Mutant, str]:
        directory(mutants[0]).mkdir()
        found = killed_by_nginx(mutants, directory(mutants[0]))
        return {mutant: printed(mutant, test) for mutant, test in found.items()}

    def try_machine(mutant: Mutant) -> str:
        test = killed_by_machine(mutant, directory(mutant))
        survived = "control, which must survive" if mutant in controls else "SURVIVED"
        print(f"{mutant}: {test or survived}", flush=True)
        return test

    with ThreadPoolExecutor(AT_ONCE) as pool:

        def alive() -> list[Mutant]:
            return [mutant for mutant in chosen if not killed.get(mutant)]

        killed |= zip(chosen, pool.map(try_project, chosen), strict=True)
        groups: dict[tuple[str, tuple[str, ...]], list[Mutant]] = {}
        for mutant in alive():
            if tests := required_tests(NGINX_TESTS, mutant):
                groups.setdefault((mutant.project, tuple(tests)), []).append(mutant)
        parts = [group[n::AT_ONCE] for group in groups.values() for n in range(AT_ONCE)]
        for found in pool.map(try_nginx, filter(None, parts)):
            killed |= found
        if PATTERNS:
            last = alive()
            killed |= zip(last, pool.map(try_machine, last), strict=True)
    chosen = [mutant for mutant in chosen if mutant not in controls]
    for file in sorted({mutant.file for mutant in chosen}):
        outcomes = [bool(killed.get(mutant)) for mutant in chosen if mutant.file == file]
        print(f"{sum(outcomes)} of {len(outcomes)} killed: {file}")
    assert [killed[mutant] for mutant in controls if killed[mutant]] == []
    assert [str(mutant) for mutant in alive()] == [], f"MUTANTS_SEED={SEED}"
