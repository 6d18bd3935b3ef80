"""docs/how-to/postgresql.md: its URLs are accepted, its statements run, its command succeeds."""

import re

from ..support.fixtures import Generate
from ..support.postgresql import Cluster
from ..support.process import run
from .steps import DIRECTORY, follow, set_up


def test_urls_and_statements_of_the_page_are_valid(copied: Generate, postgresql: Cluster) -> None:
    project = copied(database="postgresql")
    page = (project / DIRECTORY / "postgresql.md").read_text()
    set_up(project)
    url = postgresql.url(postgresql.create_database())
    run("make", "migrate", cwd=project, DATABASE_URL=url)
    (output,) = follow(project, "postgresql.md", APP_ENV="development", DATABASE_URL=url)
    assert "could start" in output
    parse = "import sys; from bottle_service.database.postgresql_url import DatabaseUrl as Url\n"
    parse += "print(*(Url.parse(url).reveal() for url in sys.argv[1:]), sep='\\n')"
    urls = re.findall(r"^(?:TEST_)?DATABASE_URL=(\S+)", page, re.MULTILINE)
    assert len(urls) == 4
    assert run(project / ".venv/bin/python", "-c", parse, *urls, cwd=project).split() == urls
    postgresql.execute('CREATE ROLE "my-service"')
    statements = re.findall(r"^(?:ALTER|SELECT) .*;$", page, re.MULTILINE)
    assert len(statements) == 5
    for statement in statements:
        postgresql.execute(statement)
