"""Each line of the deploy files matters: made wrong, it makes some test fail.

Every run tries some lines of those that need no machine, of a new seed that a failure tells.
`make faults` tries all, or those whose place FAULTS has patterns of ('gunicorn/deploy/install.sh:1?'), and
prints how many are noticed: hours, for what is asked of a machine.
"""

import dataclasses
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import pytest

from .conftest import Generate
from .faults import (
    ALONE,
    CHAIN,
    KINDS,
    KNOWN,
    Fault,
    asked,
    faults,
    known,
    lines,
    noticed_alone,
    noticed_in,
    noticed_on_chains,
)

FILES = os.environ.get("FAULTS", "").split()
SEED = os.environ.get("FAULTS_SEED") or str(time.time_ns())
SAMPLE = 6
AT_ONCE = int(os.environ.get("FAULTS_AT_ONCE") or os.cpu_count() or 1)


@pytest.fixture(scope="module")
def projects(generated: Generate) -> dict[str, Path]:
    """Return a project of each kind."""
    return {kind: generated(**answers) for kind, answers in KINDS.items()}


@pytest.fixture(scope="module")
def every(projects: dict[str, Path]) -> list[Fault]:
    """Return all faults there are; what several projects have in common is tried in one."""

    def each() -> Iterator[Fault]:
        tried: set[tuple[str, str]] = set()
        for kind, project in projects.items():
            yield from faults(kind, project, tried)
            tried |= lines(project)

    return list(each())


def test_what_goes_unnoticed_is_little(every: list[Fault]) -> None:
    """And each of it is a fault that can be made."""
    counts = Counter(known(fault) for fault in every)
    assert counts["equivalent"] <= 0.05 * len(every)
    assert counts["untested"] <= 0.1 * (len(every) - counts["equivalent"])
    made = {(fault.file, fault.line.strip(), fault.becomes.strip()) for fault in every}
    for entry in [entry for entries in KNOWN.values() for entry in entries]:
        assert entry["reason"]
        for becomes in entry["becomes"]:
            assert (entry["file"], entry["line"], becomes) in made


def test_faults_are_noticed(
    every: list[Fault], projects: dict[str, Path], tmp_path: Path, needs: Callable[..., None]
) -> None:
    needs("nginx", "openssl")
    chosen = [fault for fault in every if any(map(partial(fnmatch, fault.place), FILES))]
    assert chosen or not FILES, f"no file's place is like {FILES}"
    if not FILES:
        near = [fault for fault in every if not asked(ALONE, fault)]
        chosen = random.Random(SEED).sample(near, SAMPLE)  # noqa: S311
    # Some that are none, to see that it is the fault that makes a test fail: one for all that is asked.
    none = {
        (fault.kind, *asked(CHAIN, fault), *asked(ALONE, fault)): dataclasses.replace(
            fault, becomes=fault.line
        )
        for fault in (chosen if FILES else chosen[:1])
    }.values()
    chosen = [*none, *(fault for fault in chosen if not known(fault))]
    noticed: dict[Fault, str] = {}

    def place(fault: Fault) -> Path:
        return tmp_path / f"{chosen.index(fault)}"

    def told(fault: Fault, by: str) -> str:
        if by:  # at once: who ends a run of hours keeps what it has found
            print(f"{fault}: {by}", flush=True)
        return by

    def ask(fault: Fault) -> str:
        project = shutil.copytree(projects[fault.kind], place(fault))
        by = noticed_in(project, fault)
        shutil.rmtree(project)
        return told(fault, by)

    def ask_chains(faults: list[Fault]) -> dict[Fault, str]:
        place(faults[0]).mkdir()
        found = noticed_on_chains(faults, place(faults[0]))
        return {fault: told(fault, by) for fault, by in found.items()}

    def ask_alone(fault: Fault) -> str:
        by = noticed_alone(fault, place(fault))
        print(f"{fault}: {by or 'NOT NOTICED'}", flush=True)
        return by

    with ThreadPoolExecutor(AT_ONCE) as pool:

        def left() -> list[Fault]:
            return [fault for fault in chosen if not noticed.get(fault)]

        noticed |= zip(chosen, pool.map(ask, chosen), strict=True)
        kinds: dict[tuple[str, tuple[str, ...]], list[Fault]] = {}
        for fault in left():
            if tests := asked(CHAIN, fault):
                kinds.setdefault((fault.kind, tuple(tests)), []).append(fault)
        parts = [kind[n::AT_ONCE] for kind in kinds.values() for n in range(AT_ONCE)]
        for found in pool.map(ask_chains, filter(None, parts)):
            noticed |= found
        if FILES:
            last = left()
            noticed |= zip(last, pool.map(ask_alone, last), strict=True)
    chosen = [fault for fault in chosen if fault not in none]
    for file in sorted({fault.file for fault in chosen}):
        seen = [bool(noticed.get(fault)) for fault in chosen if fault.file == file]
        print(f"{sum(seen)} of {len(seen)}: {file}")
    assert [noticed[fault] for fault in none if noticed[fault]] == []
    assert [str(fault) for fault in left()] == [], f"FAULTS_SEED={SEED}"
