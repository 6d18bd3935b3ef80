"""Measure the page of a list in small and large tables, as a Markdown table: `make bench`.

A figure is the time of the request inside the process, against the first page of the smallest table. The
cases run in turn in each round, and the figures are the medians of the rounds' ratios.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

TEMPLATE = Path(__file__).parents[1]
sys.path.insert(0, str(TEMPLATE))

from tests.support.generate import generate  # noqa: E402

SIZES = (1_000, 1_000_000)
ROUNDS, CALLS = 60, 10
TOKEN = "t" * 32
FILL = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})
INSERT INTO notes (id, title, body, created_at, updated_at, version)
SELECT i, printf('%08d', i), 'body', '2026-01-01', '2026-01-01', 'v' FROM n
"""


def cases(directory: Path, size: int) -> dict[str, Callable[[], object]]:
    """Return the requests to a service with so many notes."""
    from my_service.app import SERVICE, open_database
    from my_service.models import Note
    from sqlalchemy import select, text
    from webtest import TestApp

    from bottle_service.database.pages import read_page

    url = f"sqlite:///{directory}/{size}.sqlite3"
    settings = SERVICE.settings.load({"API_TOKENS": f"bench:{TOKEN}", "DATABASE_URL": url})
    database = open_database(settings)
    database.migrate()
    with database.session("POST") as session:
        session.execute(text(FILL.format(size)))
        session.execute(text("CREATE INDEX ix_notes_title ON notes (title, created_at)"))
    client = TestApp(SERVICE.create_app(settings), lint=False)
    client.authorization = ("Bearer", TOKEN)

    def composite() -> None:
        with database.session("GET") as session:
            after = (f"{size - 40:08}", None)
            key = (Note.title, Note.created_at)
            read_page(session, select(Note), by=key, after=after, limit=20)

    def offset() -> None:
        with database.session("GET") as session:
            session.scalars(select(Note).order_by(Note.id).offset(size - 40).limit(20)).all()

    places = {"first": 0, "middle": size // 2, "last": size - 30}
    return {
        **{
            name: partial(client.get, f"/api/v1/notes?limit=20&after={after}")
            for name, after in places.items()
        },
        "last of two keys, without HTTP": composite,
        "last by OFFSET, without HTTP": offset,
    }


def timed(case: Callable[[], object]) -> float:
    """Return the seconds of a call."""
    begun = time.perf_counter()
    for _ in range(CALLS):
        case()
    return (time.perf_counter() - begun) / CALLS


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        project = generate(Path(directory), {})
        sys.path.insert(0, str(project / "src"))
        named = {
            (size, name): case
            for size in SIZES
            for name, case in cases(Path(directory), size).items()
        }
        stderr = os.dup(2)
        with closing(os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")) as devnull:
            os.dup2(devnull.fileno(), 2)  # where the access line goes
            rounds = [{key: timed(case) for key, case in named.items()} for _ in range(ROUNDS)]
            os.dup2(stderr, 2)
    print(f"| page of 20 notes | {' | '.join(f'{size:,} rows' for size in SIZES)} |\n|---|---|---|")
    for name in dict.fromkeys(name for _, name in named):
        base = (SIZES[0], "first") if "HTTP" not in name else (SIZES[0], name)
        figures = [
            statistics.median(one[size, name] / one[base] for one in rounds) for size in SIZES
        ]
        print(f"| {name} | {' | '.join(f'{figure:.2f} x' for figure in figures)} |")


if __name__ == "__main__":
    main()
