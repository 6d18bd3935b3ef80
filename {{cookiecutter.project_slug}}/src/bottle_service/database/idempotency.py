"""Responses to requests with an Idempotency-Key, stored in the transaction of the work."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import msgspec
from sqlalchemy import (
    Column,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    and_,
    delete,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from ..http.idempotency import KeyedRequest, StoredResponse
from ..http.problems import Problem
from .types import UtcDateTime

__all__ = ["LIFETIME", "IdempotencyKeys"]

# How long a response is repeated. Clients retry for minutes, and people until the next morning.
LIFETIME = timedelta(hours=24)
# A claim without a response is left by a handler that has committed and then failed. A request
# takes much less time: REQUEST_DEADLINE is at most 20 s.
ABANDONED_AFTER = timedelta(seconds=60)
PURGE_INTERVAL = 10.0  # seconds
PURGED_AT_ONCE = 1000  # rows: more would lengthen the transaction of a request


def _now() -> datetime:
    return datetime.now(UTC)


class IdempotencyKeys:
    """The table `idempotency_keys`: the dependency `idempotency_keys` of routes with `idempotent`.

    Create it next to the models, so that migrations contain the table. Expired rows are deleted by
    later requests, at most PURGED_AT_ONCE in PURGE_INTERVAL by each process.
    """

    def __init__(self, metadata: MetaData, clock: Callable[[], datetime] = _now) -> None:
        self.table = Table(
            "idempotency_keys",
            metadata,
            Column("client_name", String, primary_key=True),
            Column("key", String, primary_key=True),
            Column("digest", String, nullable=False),
            Column("created_at", UtcDateTime, nullable=False, index=True),
            Column("status", Integer),  # null while the first request runs
            Column("headers", String),
            Column("body", LargeBinary),
        )
        self._clock = clock
        self._next_purge = 0.0

    def begin(self, session: Session, request: KeyedRequest) -> StoredResponse | None:
        """Claim the key for this request, or return the response of a former request.

        An equal request waits here for the transaction of the first one, so that it never runs at
        the same time. Raises Problem: 422 if the key belongs to another request; 409 while that one
        runs, if its handler has committed or the wait for it reaches PostgreSQL's `lock_timeout`.
        """
        self._purge(session)
        columns, mine = self.table.c, self._is_key_of(request)
        while True:
            now = self._clock()
            claim = _insert(session, self.table).values(**request._asdict(), created_at=now)
            # The number of inserted rows is unknown with some drivers.
            claimed = claim.on_conflict_do_nothing().returning(columns.key)
            try:
                if session.execute(claimed).first():
                    return None
            except OperationalError as error:
                if _waited_for_row(error.orig):
                    raise _still_runs() from None
                raise
            row = session.execute(select(self.table).where(mine)).first()
            if row is None:
                continue  # deleted meanwhile
            if now - row.created_at > (ABANDONED_AFTER if row.status is None else LIFETIME):
                expired = and_(mine, columns.created_at == row.created_at)
                session.execute(delete(self.table).where(expired))
                continue
            if row.digest != request.digest:
                raise Problem(422, "This Idempotency-Key was sent with another request before.")
            if row.status is None:
                raise _still_runs()
            headers = msgspec.json.decode(row.headers, type=list[tuple[str, str]])
            return StoredResponse(row.status, headers, row.body)

    def finish(self, session: Session, request: KeyedRequest, response: StoredResponse) -> None:
        """Store the response of the request that has claimed its key.

        After a rollback the claim is gone, and is inserted again.
        """
        session.flush()  # a conflict with another row raises here, and not after the response
        stored = {
            "status": response.status,
            "headers": msgspec.json.encode(response.headers).decode(),
            "body": response.body,
        }
        unfinished = and_(self._is_key_of(request), self.table.c.status.is_(None))
        finished = update(self.table).where(unfinished).values(stored)
        if session.execute(finished.returning(self.table.c.key)).first():
            return
        row = _insert(session, self.table).values(
            **request._asdict(), created_at=self._clock(), **stored
        )
        try:
            session.execute(row.on_conflict_do_nothing())
        except OperationalError as error:
            # An equal request runs meanwhile, and stores its own response. An error is sent
            # nevertheless: its work is rolled back, so the transaction contains nothing.
            if response.status < 400 or not _waited_for_row(error.orig):
                raise
            session.rollback()

    def _is_key_of(self, request: KeyedRequest) -> Any:
        columns = self.table.c
        return and_(columns.client_name == request.client_name, columns.key == request.key)

    def _purge(self, session: Session) -> None:
        if time.monotonic() < self._next_purge:
            return
        self._next_purge = time.monotonic() + PURGE_INTERVAL
        columns = self.table.c
        expired = (
            select(columns.client_name, columns.key)
            .where(columns.created_at < self._clock() - LIFETIME)
            .limit(PURGED_AT_ONCE)
            .with_for_update(skip_locked=True)  # another process may purge, too
        )
        key = tuple_(columns.client_name, columns.key)
        session.execute(delete(self.table).where(key.in_(expired)))


def _still_runs() -> Problem:
    detail = "The first request with this Idempotency-Key still runs."
    return Problem(409, detail, headers={"Retry-After": "1"})


def _waited_for_row(error: Any) -> bool:
    """Return whether this is PostgreSQL's `lock_not_available` because of another row.

    Its context names the row. After a wait for the table, as during a migration, there is none.
    """
    return getattr(error, "sqlstate", None) == "55P03" and bool(error.diag.context)


def _insert(session: Session, table: Table) -> Any:
    """Return an INSERT with `on_conflict_do_nothing`, which each dialect has for itself."""
    dialect = import_module(f"sqlalchemy.dialects.{session.get_bind().dialect.name}")
    return dialect.insert(table)
