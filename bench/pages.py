"""Measure the page of a list in small and large tables, as a Markdown table: `make bench`.

A figure is the time of the request inside the process, against the first page of the smallest table, as the
median of the rounds' ratios.
"""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.databases import Case, Rounds, run_for_each_database

SIZES = (1_000, 1_000_000)
ROUNDS, CALLS = 30, 10
TOKEN = "t" * 32
FILL = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})
INSERT INTO notes (title, body, created_at, updated_at, version)
SELECT substr(CAST(100000000 + i AS VARCHAR), 2), 'body', :now, :now, 'v' FROM n
"""


def cases(url: str, size: int) -> dict[str, Case]:
    """Return the requests to a service with so many notes."""
    from my_service.app import SERVICE, open_database
    from my_service.models import Note
    from sqlalchemy import bindparam, select, text
    from webtest import TestApp

    from bottle_service.database.pages import read_page
    from bottle_service.database.types import UtcDateTime

    settings = SERVICE.settings.load({"API_TOKENS": f"bench:{TOKEN}", "DATABASE_URL": url})
    database = open_database(settings)
    database.migrate()
    now = bindparam("now", datetime(2026, 1, 1, tzinfo=UTC), UtcDateTime)
    with database.migrating() as connection:  # without the limits of a request
        connection.execute(text(FILL.format(size)).bindparams(now))
        connection.execute(text("CREATE INDEX ix_notes_title ON notes (title, created_at)"))
        connection.execute(text("ANALYZE notes"))
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

    def page(after: int) -> None:
        response = client.get(f"/api/v1/notes?limit=20&after={after}")
        assert response.body.count(b'"id"') == 20  # noqa: S101

    return {
        "first": partial(page, 0),
        "middle": partial(page, size // 2),
        "last": partial(page, size - 30),
        "last of two keys, without HTTP": composite,
        "last by OFFSET, without HTTP": offset,
    }


def measure(database: str, new_url: Callable[[str], str]) -> None:
    named = {
        f"{name} of {size}": case
        for size in SIZES
        for name, case in cases(new_url(str(size)), size).items()
    }
    rounds = Rounds(named, ROUNDS, CALLS)
    print(f"\n| page of 20 notes, {database} | {' | '.join(f'{size:,} rows' for size in SIZES)} |")
    print("|---|---|---|")
    for name in dict.fromkeys(key.rpartition(" of ")[0] for key in named):
        base = f"{name if 'HTTP' in name else 'first'} of {SIZES[0]}"
        figures = [rounds.ratio(f"{name} of {size}", base) for size in SIZES]
        print(f"| {name} | {' | '.join(f'{figure:.2f} x' for figure in figures)} |")


if __name__ == "__main__":
    run_for_each_database(__file__, measure)
