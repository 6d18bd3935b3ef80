"""Migrations: how they are written and run, on a history of the tests' own."""

import ast
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Enum,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    UniqueConstraint,
    false,
    func,
    inspect,
    text,
)
from sqlalchemy.schema import SchemaItem

from bottle_service.cli import main
from bottle_service.database import NAMING_CONVENTION
from bottle_service.database.migrations import Migrations
from bottle_service.database.sqlite import Database
from bottle_service.database.types import ExactDecimal, UtcDateTime
from bottle_service.database.url import DatabaseUrl
from bottle_service.startup import StartupError

from . import schema
from .sample.app import SERVICE

STEP = """
from alembic import op

revision, down_revision = {revision!r}, {before!r}


def upgrade() -> None:
    {statements}


def downgrade() -> None:
    {reverting}
"""
PARENTS = "CREATE TABLE parents (id INTEGER PRIMARY KEY, name TEXT NOT NULL)"
CHILDREN = (
    "CREATE TABLE children (parent INTEGER NOT NULL REFERENCES parents (id) ON DELETE CASCADE)"
)
TABLES = (f"op.execute({PARENTS!r})", f"op.execute({CHILDREN!r})")
BATCH = "with op.batch_alter_table('parents') as batch: batch.alter_column('name', nullable=True)"


class History:
    """Migrations in a directory, and a database that has none yet."""

    def __init__(self, directory: Path) -> None:
        self.versions = schema.copy_migrations(directory)
        self.migrations = Migrations(self.versions.parent)
        self.database = Database(
            DatabaseUrl(f"sqlite:///{directory}/db.sqlite3"),
            self.migrations,
            threads=1,
            busy_timeout=1.0,
        )
        self.database.migrate()

    def add(
        self, revision: str, *statements: str, after: str | None = None, reverting: str = "pass"
    ) -> None:
        """Add a revision, after the newest or another one."""
        before = after or next(reversed(self.migrations.revisions()), None)
        lines = "\n    ".join(statements) or "pass"
        step = STEP.format(revision=revision, before=before, statements=lines, reverting=reverting)
        (self.versions / f"{revision}.py").write_text(step)

    def write(self, message: str, *columns: Column[Any]) -> str:
        """Have the revision written that creates a table of these columns; return its text."""
        schema.metadata = MetaData()
        Table("things", schema.metadata, *columns)
        return self.revise(message)

    def revise(self, message: str) -> str:
        """Have a revision written for the present metadata; return its text."""
        self.database.create_revision(message)
        return (self.versions / f"{self.migrations.revisions()[-1]}.py").read_text()

    def shape(self) -> dict[str, Any]:
        """Return what the tables consist of, without the names of constraints."""
        with self.database.session("GET") as session:
            tables = inspect(session.connection())
            return {
                name: (
                    {
                        c["name"]: (str(c["type"]), c["nullable"], c["default"])
                        for c in tables.get_columns(name)
                    },
                    sorted(c["column_names"] for c in tables.get_unique_constraints(name)),
                    sorted(c["constrained_columns"] for c in tables.get_foreign_keys(name)),
                    sorted(c["column_names"] for c in tables.get_indexes(name)),
                )
                for name in set(tables.get_table_names()) - {"alembic_version"}
            }

    def execute(self, statement: str) -> list[Any]:
        """Return the first column of the statement's result."""
        with closing(sqlite3.connect(self.database.path, isolation_level=None)) as connection:
            return [row[0] for row in connection.execute(statement)]

    def problems(self) -> str:
        return " ".join(str(problem) for problem in self.database.problems())

    def run(self, *command: str) -> None:
        """Run a command of a service that has this database."""
        service = replace(SERVICE, open_database=lambda _settings: self.database)
        main(service, command)


@pytest.fixture
def history(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[History]:
    monkeypatch.setattr(schema, "metadata", MetaData())
    monkeypatch.setattr("os.environ", environ)
    history = History(tmp_path)
    yield history
    history.database.close()


def test_migration_is_written_for_changed_tables(history: History) -> None:
    assert "create_table('things'" in history.write("Things, again!", Column("name", String))
    assert history.migrations.revisions() == ["0001_things_again"]
    assert "0001_things_again is needed" in history.problems()
    assert history.problems().endswith("run the command `migrate`")


@pytest.mark.parametrize(
    "message", ['rename "title"', 'no """title"""', "it's C:\\new\\", '"""\nraise SystemExit\n"""']
)
def test_message_of_a_migration_is_never_code(history: History, message: str) -> None:
    (first, *_) = ast.parse(history.write(message, Column("name", String))).body
    assert isinstance(first, ast.Expr)
    assert ast.literal_eval(first.value) == f"{message}."
    history.database.migrate()
    assert history.problems() == ""


def columns(*more: SchemaItem) -> list[Any]:
    return [Column("id", Integer, primary_key=True), Column("name", String), *more]


# Columns of `things` before and after a change of the models.
Columns = Callable[[], list[Any]]
CHANGES: dict[str, tuple[Columns, Columns]] = {
    "column added": (columns, lambda: columns(Column("at", UtcDateTime))),
    "column dropped": (lambda: columns(Column("at", UtcDateTime)), columns),
    "type": (
        lambda: columns(Column("size", String(20))),
        lambda: columns(Column("size", Integer)),
    ),
    "length": (
        lambda: columns(Column("size", String(20))),
        lambda: columns(Column("size", String(30))),
    ),
    "server default": (
        lambda: columns(Column("n", Integer, server_default="0")),
        lambda: columns(Column("n", Integer, server_default="1")),
    ),
    "server default dropped": (
        lambda: columns(Column("n", String, server_default="")),
        lambda: columns(Column("n", String)),
    ),
    "not null": (
        lambda: columns(Column("n", Integer, server_default="0")),
        lambda: columns(Column("n", Integer, server_default="0", nullable=False)),
    ),
    "unique added": (
        lambda: columns(Column("n", String)),
        lambda: columns(Column("n", String, unique=True)),
    ),
    "unique dropped": (
        lambda: columns(Column("n", String, unique=True)),
        lambda: columns(Column("n", String)),
    ),
    "unique of two columns dropped": (
        lambda: columns(Column("n", String), UniqueConstraint("n", "name")),
        lambda: columns(Column("n", String)),
    ),
    "unique column dropped": (lambda: columns(Column("n", String, unique=True)), columns),
    "index added": (
        lambda: columns(Column("n", String)),
        lambda: columns(Column("n", String, index=True)),
    ),
    "foreign key column added": (columns, lambda: columns(Column("n", ForeignKey("parents.id")))),
    "foreign key column dropped": (lambda: columns(Column("n", ForeignKey("parents.id"))), columns),
    "foreign key dropped": (
        lambda: columns(Column("n", ForeignKey("parents.id"))),
        lambda: columns(Column("n", Integer)),
    ),
    "enum added": (
        columns,
        lambda: columns(Column("state", Enum("new", "old", name="state"), server_default="new")),
    ),
    "enum with a CHECK added": (
        columns,
        lambda: columns(Column("state", Enum("new", "old", name="state", create_constraint=True))),
    ),
    "boolean with a CHECK added": (
        columns,
        lambda: columns(Column("is_new", Boolean(name="is_new", create_constraint=True))),
    ),
    "enum with a longer value": (
        lambda: columns(Column("state", Enum("new", "old", name="state"))),
        lambda: columns(Column("state", Enum("new", "old", "broken", name="state"))),
    ),
}


def set_tables(convention: dict[str, str] | None, columns: list[Any]) -> None:
    """Let the models be `parents` and `things`."""
    schema.metadata = MetaData(naming_convention=convention)
    Table("parents", schema.metadata, Column("id", Integer, primary_key=True))
    Table("things", schema.metadata, *columns)


@pytest.mark.parametrize("names", ["before and after", "after", "never"])
@pytest.mark.parametrize("change", CHANGES)
def test_change_is_written_and_reverted_and_data_stay(
    history: History, change: str, names: str
) -> None:
    """Also in a project that has the naming convention since a while, or has it not."""
    before, after = CHANGES[change]
    set_tables(NAMING_CONVENTION if names == "before and after" else None, before())
    history.revise("first")
    history.database.migrate()
    history.execute("INSERT INTO parents VALUES (1)")
    history.execute("INSERT INTO things (id, name) VALUES (1, 'kept'), (2, 'kept')")
    shape = history.shape()

    set_tables(None if names == "never" else NAMING_CONVENTION, after())
    written = history.revise("second")
    assert "None, " not in written
    history.database.migrate()
    changed = history.shape()
    assert changed != shape
    assert history.database.downgrade("-1") == "0001_first"
    assert history.shape() == shape
    history.database.migrate()
    assert history.shape() == changed
    assert history.execute("SELECT id FROM things WHERE name = 'kept' ORDER BY id") == [1, 2]
    assert "\n    pass\n" in history.revise("nothing")


@pytest.mark.parametrize("convention", [None, NAMING_CONVENTION])
def test_column_is_dropped_with_its_check(
    history: History, convention: dict[str, str] | None
) -> None:
    """The copy of a table would keep the CHECK. Others stay, also one with the name as a text."""
    kept = CheckConstraint("name IN ('state', 'other')", name="names")
    state: Column[Any] = Column("state", Enum("new", "old", name="state", create_constraint=True))
    set_tables(convention, columns(state, CheckConstraint("state <> name", name="differs"), kept))
    history.revise("first")
    history.database.migrate()
    history.execute("INSERT INTO things (id, name) VALUES (1, 'other')")
    set_tables(convention, columns(CheckConstraint("name IN ('state', 'other')", name="names")))
    written = history.revise("second")
    assert written.count("drop_constraint(") == 2
    history.database.migrate()
    assert history.execute("SELECT name FROM things") == ["other"]
    (table,) = history.execute("SELECT sql FROM sqlite_master WHERE name = 'things'")
    assert table.count("CHECK") == 1


@pytest.mark.parametrize("convention", [None, NAMING_CONVENTION])
@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based")
def test_unchanged_tables_need_no_migration(
    history: History, convention: dict[str, str] | None
) -> None:
    def tables() -> list[Any]:
        defaults: list[Any] = [
            text("10"),
            text("-1"),
            "10",
            "",
            "it's",
            '"',
            "(x)",
            "a b",
            "{}",
            "1.5",
        ]
        defaults += [func.now(), func.lower("X'y"), text("(lower('X'))"), text("NULL"), false()]
        return [
            *columns(*(Column(f"c{n}", String, server_default=d) for n, d in enumerate(defaults))),
            Column("n", Integer, server_default="0"),
            Column("f", Float, server_default=text("1.5")),
            Column("b", Boolean, server_default=false()),
            Column("t", DateTime, server_default=func.now()),
            Column("u", UtcDateTime, server_default=func.current_timestamp()),
            Column("e", Enum("a", "b", name="e", create_constraint=True), server_default="a"),
            Column("j", JSON, server_default="{}"),
            Column("d", ExactDecimal(10, 2), unique=True),
            Column("d2", Numeric(10, 2, asdecimal=False)),
            Column("p", ForeignKey("parents.id", ondelete="CASCADE"), index=True),
            Column("g", Integer, Computed("n + 1")),
            CheckConstraint("n >= 0"),
            CheckConstraint("n < 100", name="most"),
            UniqueConstraint("n", "f"),
            Index("newest", text("n DESC")),
            Index("lowered", text("lower(name)")),
        ]

    set_tables(convention, tables())
    history.revise("tables")
    history.database.migrate()
    set_tables(convention, tables())
    assert "\n    pass\n" in history.revise("nothing")


def test_constraint_named_by_hand_is_no_change(history: History) -> None:
    """Before the naming convention, only a migration with a name could be run."""
    set_tables(None, columns(Column("n", String)))
    history.revise("tables")
    batch = "with op.batch_alter_table('things') as batch: batch."
    unique = f"{batch}create_unique_constraint('my_n', ['n'])"
    history.add("0002_unique", unique, reverting=f"{batch}drop_constraint('my_n')")
    history.database.migrate()
    set_tables(None, columns(Column("n", String, unique=True)))
    assert "\n    pass\n" in history.revise("nothing")


def test_migration_with_its_own_naming_convention_still_runs(history: History) -> None:
    set_tables(None, columns(Column("n", String, unique=True)))
    history.revise("tables")
    names = {"uq": "my_%(column_0_name)s"}
    batch = f"with op.batch_alter_table('things', naming_convention={names!r}) as batch: "
    history.add("0002_drop", f"{batch}batch.drop_constraint('my_n')")
    history.database.migrate()
    set_tables(None, columns(Column("n", String)))
    assert "\n    pass\n" in history.revise("nothing")


def test_column_renamed_by_hand_keeps_its_data(history: History) -> None:
    set_tables(NAMING_CONVENTION, columns(Column("size", Integer, unique=True)))
    history.revise("tables")
    history.database.migrate()
    history.execute("INSERT INTO things VALUES (1, 'x', 42)")
    rename = "op.alter_column('things', {!r}, new_column_name={!r})"
    history.add(
        "0002_rename", rename.format("size", "width"), reverting=rename.format("width", "size")
    )
    history.database.migrate()
    assert history.execute("SELECT width FROM things") == [42]
    history.database.downgrade("-1")
    assert history.execute("SELECT size FROM things") == [42]
    history.database.migrate()
    assert history.execute("SELECT width FROM things") == [42]


def test_required_column_without_a_default_is_explained(history: History) -> None:
    set_tables(NAMING_CONVENTION, columns())
    history.revise("tables")
    history.database.migrate()
    history.execute("INSERT INTO things VALUES (1, 'kept')")
    set_tables(NAMING_CONVENTION, columns(Column("n", Integer, nullable=False)))
    history.revise("required")
    with pytest.raises(StartupError, match="give it a `server_default`"):
        history.database.migrate()
    (history.versions / "0002_required.py").unlink()
    default = Column("n", Integer, nullable=False, server_default="0")
    set_tables(NAMING_CONVENTION, columns(default))
    history.revise("required")
    history.database.migrate()


def test_type_of_the_service_is_written_with_its_import(history: History) -> None:
    price: Column[Any] = Column("price", ExactDecimal(10, 2))
    written = history.write("things", *columns(Column("at", UtcDateTime), price))
    assert "from bottle_service.database.types import UtcDateTime\n" in written
    assert "sa.Column('at', UtcDateTime()," in written
    assert "from bottle_service.database.types import ExactDecimal\n" in written
    assert "sa.Column('price', ExactDecimal(10, 2)," in written


def test_decimal_that_sqlite_would_change_is_refused(history: History) -> None:
    """The project's suite writes a migration, too. The column is the same with ExactDecimal."""
    set_tables(None, columns(Column("price", Numeric(10, 2))))
    with pytest.raises(StartupError, match=r"things\.price as floats.*\(ExactDecimal\(12, 2\)"):
        history.revise("prices")
    assert history.migrations.revisions() == []
    set_tables(None, columns(Column("price", Numeric(10, 2, asdecimal=False))))
    history.revise("prices")
    history.database.migrate()
    set_tables(None, columns(Column("price", ExactDecimal(10, 2))))
    assert "\n    pass\n" in history.revise("nothing")


def test_empty_migration_is_reported(history: History, capsys: pytest.CaptureFixture[str]) -> None:
    """Alembic compares neither CHECK constraints nor data."""
    history.write("Things", Column("name", String))
    assert "changes no table" not in capsys.readouterr().err
    history.database.migrate()
    assert "pass" in history.revise("More kinds")
    assert "0002_more_kinds changes no table" in capsys.readouterr().err


def test_revision_fits_the_column_of_alembic_version(history: History) -> None:
    """Alembic's column has 32 characters, which PostgreSQL enforces."""
    history.write("Add the colour of the covers, and the year", Column("name", String))
    (revision,) = history.migrations.revisions()
    assert revision == "0001_add_the_colour_of_the_cover"
    history.database.migrate()
    assert history.execute("SELECT version_num FROM alembic_version") == [revision]


def test_migration_contains_only_its_statements(history: History) -> None:
    written = history.write("Add things", Column("name", String))
    assert written.startswith(('"Add things."\n', "'Add things.'\n"))
    assert "###" not in written


def test_without_migrations_there_is_nothing_to_run(history: History) -> None:
    assert history.problems() == ""
    history.database.path.write_bytes(b"")
    assert history.problems() == ""


def test_copied_table_keeps_the_rows_that_refer_to_it(history: History) -> None:
    """SQLite cannot alter a column: Alembic copies the table and drops the old one."""
    history.add("0001_tables", *TABLES)
    history.database.migrate()
    history.execute("INSERT INTO parents VALUES (1, 'x')")
    history.execute("INSERT INTO children VALUES (1), (1), (1)")
    history.add("0002_nullable", BATCH)
    history.database.migrate()
    assert history.execute("SELECT \"notnull\" FROM pragma_table_info('parents')") == [0, 0]
    assert history.execute("SELECT count(*) FROM children") == [3]
    with history.database.session("POST") as session:
        assert session.scalar(text("PRAGMA foreign_keys")) == 1


PLAIN = "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT NOT NULL{})"
COPY = "with op.batch_alter_table('things'{}) as batch: batch.alter_column('name', nullable=True)"
DESC = "CREATE INDEX newest ON things (id DESC)"
LOWERED = "CREATE INDEX lowered ON things (lower(name))"
TRIGGER = "CREATE TRIGGER guard BEFORE DELETE ON things BEGIN SELECT raise(ABORT, 'no'); END"
NOCASE = ", reflect_args=[sa.Column('name', sa.String(collation='NOCASE'))]"
CHECK = ", table_args=[sa.CheckConstraint('length(name) > 1')]"
# What a copy loses: the statements that create it, its name, and how a migration keeps it.
LOSSES: dict[str, tuple[list[str], str, list[str]]] = {
    "trigger": ([PLAIN.format(""), TRIGGER], "trigger guard", [COPY.format(""), TRIGGER]),
    "expression": ([PLAIN.format(""), LOWERED], "index lowered", [COPY.format(""), LOWERED]),
    "descending": (
        [PLAIN.format(""), DESC],
        "DESC of the index newest",
        [COPY.format(""), "DROP INDEX newest", DESC],
    ),
    "check": ([PLAIN.format(" CHECK (length(name) > 1)")], "CHECK length", [COPY.format(CHECK)]),
    "check of the table": (
        [PLAIN.format(', CHECK (length("name") > 1)')],
        "CHECK length",
        [COPY.format(CHECK)],
    ),
    "collation": ([PLAIN.format(" COLLATE NOCASE")], "COLLATE NOCASE", [COPY.format(NOCASE)]),
}


def statements_of(steps: list[str]) -> list[str]:
    return [step if step.startswith("with") else f"op.execute({step!r})" for step in steps]


@pytest.mark.filterwarnings("ignore:Unnamed CHECK constraint:UserWarning")
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
@pytest.mark.parametrize("loss", LOSSES)
def test_migration_that_would_lose_a_part_of_a_table_changes_nothing(
    history: History, loss: str
) -> None:
    """As on a new database, where the table is created by a migration of the same run."""
    create, name, keep = LOSSES[loss]
    history.add("0001_things", *statements_of(create))
    history.database.migrate()
    before = history.execute("SELECT sql FROM sqlite_master ORDER BY name")
    history.add("0002_copy", COPY.format(""))
    with pytest.raises(StartupError) as caught:
        history.database.migrate()
    (problem,) = caught.value.problems
    assert problem.source.endswith("0002_copy.py")
    assert f"would lose the {name}" in problem.reason
    assert history.execute("SELECT sql FROM sqlite_master ORDER BY name") == before
    history.database.downgrade("base")
    for table in history.shape():
        history.execute(f"DROP TABLE {table}")
    with pytest.raises(StartupError, match="would lose"):
        history.database.migrate()

    # Do as the message says: mention it, or keep it.
    history.add("0002_copy", COPY.format(""), f"# {problem.reason}", after="0001_things")
    history.database.migrate()
    for table in history.shape():
        history.execute(f"DROP TABLE {table}")
    history.execute("DELETE FROM alembic_version")
    history.add("0002_copy", "import sqlalchemy as sa", *statements_of(keep), after="0001_things")
    history.database.migrate()
    assert len(history.execute("SELECT sql FROM sqlite_master")) == len(before)


@pytest.mark.parametrize(
    "steps",
    [
        ["op.drop_table('things')"],
        ["op.rename_table('things', 'goods')"],
        ["op.alter_column('things', 'name', new_column_name='title')"],
        ["op.drop_index('newest')", "op.execute('DROP TRIGGER guard')"],
        ["op.execute('DROP INDEX lowered')", "op.execute('ALTER TABLE things DROP COLUMN name')"],
        ["op.add_column('things', sa.Column('more', sa.String))"],
    ],
)
def test_migration_may_remove_and_rename_on_purpose(history: History, steps: list[str]) -> None:
    named = PLAIN.format(" CHECK (length(name) > 1) COLLATE NOCASE")
    history.add("0001_things", *statements_of([named, DESC, LOWERED, TRIGGER]))
    history.add("0002_step", "import sqlalchemy as sa", *steps)
    history.database.migrate()
    assert history.problems() == ""


def test_migration_that_leaves_orphans_changes_nothing(history: History) -> None:
    history.add("0001_tables", *TABLES)
    history.database.migrate()
    history.execute("INSERT INTO parents VALUES (1, 'x')")
    history.execute("INSERT INTO children VALUES (1), (1)")
    history.add("0002_nullable", BATCH)
    history.add("0003_orphans", "op.execute('DELETE FROM parents')")
    with pytest.raises(StartupError) as caught:
        history.database.migrate()
    (problem,) = caught.value.problems
    assert str(problem) == ("DATABASE_URL: rows of children would refer to missing rows of parents")
    # 0002_nullable was to run in the same transaction.
    assert history.execute("SELECT \"notnull\" FROM pragma_table_info('parents')") == [0, 1]
    assert history.execute("SELECT id FROM parents") == [1]
    assert history.execute("SELECT version_num FROM alembic_version") == ["0001_tables"]


def test_migrate_without_new_revisions_accepts_orphans_of_before(history: History) -> None:
    history.add("0001_tables", *TABLES)
    history.database.migrate()
    history.execute("INSERT INTO children VALUES (1)")
    history.database.migrate()


def test_newer_database_is_left_unchanged(
    history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rollback to this release keeps the tables of the release after it."""
    history.add("0001_tables", *TABLES)
    history.database.migrate()
    history.execute("UPDATE alembic_version SET version_num = '0002_newer'")
    before = history.execute("SELECT sql FROM sqlite_master")
    assert history.problems() == ""
    history.run("migrate")
    (line,) = capsys.readouterr().out.splitlines()
    assert "0002_newer, which this release does not know" in line
    assert history.execute("SELECT sql FROM sqlite_master") == before
    assert history.execute("SELECT version_num FROM alembic_version") == ["0002_newer"]


def test_newer_database_is_left_unchanged_by_several_releases(history: History) -> None:
    """The recorded revisions decide, not their numbers, which a rebased branch may repeat."""
    history.add("0001_tables", *TABLES)
    history.add("0002_more")
    history.add("0002_late", after="0002_more")
    history.database.migrate()
    for revision in ("0002_late", "0002_more"):
        (history.versions / f"{revision}.py").unlink()
        assert history.problems() == ""
        assert history.database.migrate() == "0002_late"


@pytest.mark.parametrize("command", ["check", "migrate"])
@pytest.mark.parametrize("ours", ["0002_ours", "0003_ours", "0004_ours"])
def test_switch_of_git_branches_is_a_problem(
    history: History, command: str, ours: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of the database and this tree has a revision that the other lacks."""
    history.add("0001_tables", *TABLES)
    history.add("0002_theirs")
    history.add("0003_theirs")
    history.database.migrate()
    before = history.execute("SELECT sql FROM sqlite_master")
    theirs = history.versions / "0002_theirs.py", history.versions / "0003_theirs.py"
    branch = [(path, path.read_text()) for path in theirs]
    for path in theirs:
        path.unlink()
    history.add(ours)
    with pytest.raises(SystemExit, match=r"^2$"):
        history.run(command)
    assert capsys.readouterr().err.splitlines()[1] == (
        "  DATABASE_URL: is at revision 0003_theirs, which this tree does not have, and lacks "
        f"{ours} of this tree, as after a switch of Git branches: run the command "
        "`downgrade 0001_tables` in the tree that has 0003_theirs, or delete a database of "
        "development; then run the command `migrate` in this tree"
    )
    assert history.execute("SELECT sql FROM sqlite_master") == before
    # Do as the message says.
    for path, content in branch:
        path.write_text(content)
    (history.versions / f"{ours}.py").rename(history.versions / "ours")
    history.run("downgrade", "0001_tables")
    for path, _ in branch:
        path.unlink()
    (history.versions / "ours").rename(history.versions / f"{ours}.py")
    history.run("migrate")
    assert history.problems() == ""
    assert history.execute("SELECT version_num FROM alembic_version") == [ours]


def test_switch_of_branches_is_seen_by_numbers_if_nothing_is_recorded(history: History) -> None:
    """A release before 0.3 has migrated the database."""
    history.add("0001_tables", *TABLES)
    history.add("0002_theirs")
    history.database.migrate()
    history.execute("ALTER TABLE alembic_version DROP COLUMN applied")
    (history.versions / "0002_theirs.py").unlink()
    assert history.problems() == ""
    history.add("0002_ours")
    assert "lacks 0002_ours of this tree" in history.problems()
    with pytest.raises(StartupError, match="lacks 0002_ours"):
        history.database.migrate()


def test_database_of_a_former_release_is_recorded_with_its_next_migration(history: History) -> None:
    history.add("0001_tables", *TABLES)
    history.database.migrate()
    history.execute("ALTER TABLE alembic_version DROP COLUMN applied")
    history.database.migrate()
    assert history.problems() == ""
    history.add("0002_more")
    history.database.migrate()
    assert history.execute("SELECT applied FROM alembic_version") == ["0001_tables 0002_more"]


def test_downgrade_reverts_one_migration_or_more(
    history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1, 4):
        history.add(
            f"000{number}_step",
            f"op.execute('CREATE TABLE t{number} (id)')",
            reverting=f"op.execute('DROP TABLE t{number}')",
        )
    history.database.migrate()
    history.run("downgrade")
    assert set(history.shape()) == {"t1", "t2"}
    assert capsys.readouterr().out.endswith("the database is at revision 0002_step\n")
    assert "0003_step is needed: run the command `migrate`" in history.problems()
    history.database.migrate()
    history.run("downgrade", "-2")
    assert set(history.shape()) == {"t1"}
    history.run("downgrade", "base")
    assert set(history.shape()) == set()
    assert capsys.readouterr().out.endswith("the database is at revision base\n")
    history.database.migrate()
    assert set(history.shape()) == {"t1", "t2", "t3"}


def test_downgrade_in_production_has_to_be_confirmed(
    history: History, environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    history.add("0001_tables", *TABLES, reverting="op.drop_table('children')")
    history.database.migrate()
    environ["APP_ENV"] = "production"
    with pytest.raises(SystemExit, match=r"^2$"):
        history.run("downgrade", "base")
    assert "repeat the command with --yes" in capsys.readouterr().err
    assert "children" in history.shape()
    history.run("downgrade", "base", "--yes")
    assert "children" not in history.shape()


@pytest.mark.parametrize("revision", ["-1", "base", "0001_tables", "0009_unknown"])
def test_downgrade_that_is_impossible_changes_nothing(
    history: History, revision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    history.add("0001_tables", *TABLES)
    with pytest.raises(SystemExit, match=r"^2$"):
        history.run("downgrade", revision)
    assert "DATABASE_URL: " in capsys.readouterr().err
    history.database.close()
    history.database.path.unlink()
    with pytest.raises(SystemExit, match=r"^2$"):
        history.run("downgrade", revision)
    assert "there is no database" in capsys.readouterr().err
    assert not history.database.path.exists()


def test_failing_downgrade_changes_nothing(history: History) -> None:
    history.add("0001_tables", *TABLES, reverting="op.execute('DROP TABLE parents')")
    history.add("0002_more", reverting="op.execute('DROP TABLE absent')")
    history.database.migrate()
    with pytest.raises(StartupError, match="no such table: absent"):
        history.database.downgrade("base")
    assert set(history.shape()) == {"parents", "children"}
    assert history.problems() == ""


def test_downgrade_waits_for_a_running_migration(history: History) -> None:
    history.add("0001_tables", *TABLES)
    history.database.migrate()
    with closing(sqlite3.connect(history.database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StartupError, match="database is locked"):
            history.database.downgrade("base")
    history.database.downgrade("base")


def test_newer_database_gets_no_new_migration(
    history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    history.add("0001_tables", *TABLES)
    history.database.migrate()
    history.execute("UPDATE alembic_version SET version_num = '0002_newer'")
    with pytest.raises(SystemExit, match=r"^2$"):
        history.run("revision", "-m", "more")
    error = capsys.readouterr().err
    assert "0002_newer" in error
    assert "run the command" not in error


def test_outdated_database_gets_no_new_migration(history: History) -> None:
    history.add("0001_tables", *TABLES)
    with pytest.raises(StartupError, match=r"0001_tables is needed: run the command `migrate`"):
        history.write("things", Column("name", String))


@pytest.mark.parametrize("command", [["check"], ["migrate"], ["revision", "-m", "more"]])
@pytest.mark.parametrize("newest", ["0002_b", "0003_b"])
def test_two_newest_migrations_are_a_problem(
    history: History, command: list[str], newest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after a merge of two branches, also if only the number of one was changed."""
    history.add("0001_tables", *TABLES)
    history.database.migrate()
    history.add("0002_a")
    history.add(newest, after="0001_tables")
    with pytest.raises(SystemExit, match=r"^2$"):
        history.run(*command)
    (_, line) = capsys.readouterr().err.splitlines()
    assert f"0002_a and {newest} are both the newest" in line
    assert "down_revision" in line
    assert "run the command" not in line
    assert history.execute("SELECT version_num FROM alembic_version") == ["0001_tables"]
    (history.versions / f"{newest}.py").unlink()
    history.add("0003_b")
    history.database.migrate()
    assert history.problems() == ""


def test_message_of_a_revision_is_required(
    history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in ([], ["-m", ""], ["-m", "…"]):
        with pytest.raises(SystemExit, match=r"^2$"):
            history.run("revision", *arguments)
    assert "describe the change" in capsys.readouterr().err
    assert history.migrations.revisions() == []


def test_former_command_migrate_new_is_accepted(
    history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    schema.metadata = MetaData()
    Table("things", schema.metadata, Column("name", String))
    history.run("migrate", "--new", "add things")
    assert history.migrations.revisions() == ["0001_add_things"]
    assert capsys.readouterr().err.startswith(
        "`migrate --new` is now called `revision -m`; the former name will stop working\n"
    )
