"""Parts of tables that Alembic loses when it alters a table of SQLite.

Alembic copies the table, drops the old one, and writes again what SQLAlchemy can read: no triggers,
no unnamed CHECK, no collation, no index of an expression (sqlalchemy/alembic#1846). It exits with 0.
"""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from ..startup import StartupError, StartupProblem

__all__ = ["LossGuard", "names_in"]

_TOKENS = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` | \[[^]]*\] | \w+ | --[^\n]* | /\*.*?\*/ | \S""",
    re.VERBOSE | re.DOTALL,
)


class Part(NamedTuple):
    """A part of a table: `kind` is such as "trigger".

    A migration that removes it has its `text`, or the `name` of a CHECK.
    """

    table: str
    kind: str
    text: str
    column: str = ""
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.text} of the table {self.table}"


class LossGuard:
    """Compares the parts of all tables before and after each migration."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._parts = _read_parts(connection)

    def check(self, migration: Path) -> None:
        """Raise StartupError if the migration has lost parts that its file does not mention."""
        before, self._parts = self._parts, _read_parts(self._connection)
        lost = _find_lost_parts(before, self._parts, migration.read_text(encoding="utf-8"))
        if lost:
            advice = (
                "write it again in this migration (a trigger or an index with `op.execute` after "
                "the batch, a CHECK in the batch's `table_args`, a collation in its "
                "`reflect_args`), or name it in a comment there if it is meant to go"
            )
            raise StartupError(
                StartupProblem("", f"would lose the {part}: {advice}", str(migration))
                for part in lost
            )


def _read_parts(connection: Connection) -> list[Part]:
    """Return the parts of all tables that a copy may lose."""
    parts = []
    rows = connection.exec_driver_sql(
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL"
    ).all()
    for kind, name, table, sql in rows:
        if kind == "table":
            parts += [Part(name, "table", name), *_read_clauses(name, sql)]
        elif kind == "trigger":
            parts.append(Part(table, "trigger", name))
        elif kind == "index":
            parts.append(Part(table, "index", name))
            parts += [Part(table, f"{clause} of the index", name) for clause in _features(sql)]
    return parts


def _find_lost_parts(before: list[Part], after: list[Part], migration: str) -> list[Part]:
    """Return the parts that are lost although the migration's text does not mention them.

    The parts of a dropped or renamed table, and of a dropped column, may go.
    """
    tables = {part.table for part in after if part.kind == "table"}
    drops_column = re.search("drop[ _]column", migration, re.IGNORECASE)
    number = Counter((part.table, part.kind) for part in before)
    number.subtract((part.table, part.kind) for part in after)
    return [
        part
        for part in Counter(before) - Counter(after)
        if part.table in tables
        # A renamed column changes a CHECK, too, but not the number of them.
        if number[part.table, part.kind] > 0
        if not _mentions(migration, part)
        if not (drops_column and part.column and part.column in migration)
    ]


def _mentions(migration: str, part: Part) -> bool:
    text = part.name or part.text
    if part.kind == "CHECK" and _squeeze(part.text) in _squeeze(migration):
        return True
    return bool(re.search(rf"\b{re.escape(text)}\b", migration, re.IGNORECASE))


def _read_clauses(table: str, sql: str) -> list[Part]:
    """Return the clauses of CREATE TABLE that SQLAlchemy does not read."""
    tokens = [token for token in _TOKENS.findall(sql) if token[:2] not in ("--", "/*")]
    words = [token.upper() for token in tokens]
    parts, depth, column, previous = [], 0, "", ""
    for index, word in enumerate(words):
        if depth == 1 and previous in ("(", ","):
            column = tokens[index].strip("\"`[]'")
        if word == "CHECK":
            name = tokens[index - 1].strip("\"`[]'") if words[index - 2] == "CONSTRAINT" else ""
            parts.append(Part(table, "CHECK", _parenthesized(tokens[index + 1 :]), column, name))
        elif word == "COLLATE" and tokens[index + 1].upper() != "BINARY":
            parts.append(Part(table, "COLLATE", tokens[index + 1], column))
        elif word == "CONFLICT":
            parts.append(Part(table, "ON CONFLICT", tokens[index + 1], column))
        elif depth == 0 and word in ("STRICT", "ROWID"):
            parts.append(Part(table, "option", word))
        depth += (word == "(") - (word == ")")
        previous = word
    return parts


def _parenthesized(tokens: list[str]) -> str:
    """Return what is between the first parenthesis and its end."""
    depth = 0
    for end, word in enumerate(tokens):
        depth += (word == "(") - (word == ")")
        if depth == 0:
            return " ".join(tokens[1:end])
    return " ".join(tokens)


def _features(sql: str) -> list[str]:
    """Return the words of CREATE INDEX that a copy may lose."""
    words = {token.upper() for token in _TOKENS.findall(sql)}
    return [word for word in ("DESC", "COLLATE", "WHERE") if word in words]


def names_in(sql: str) -> set[str]:
    """Return the names in an SQL expression, such as those of columns, and its keywords."""
    tokens = _TOKENS.findall(sql)
    return {token.strip('"`[]') for token in tokens if not token.startswith("'")}


def _squeeze(text: str) -> str:
    """Return the text without quotes and white space, to compare SQL in any style."""
    return re.sub(r"""[\s"'`\[\]\\]""", "", text).lower()
