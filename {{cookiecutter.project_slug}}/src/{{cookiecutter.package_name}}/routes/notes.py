"""The notes: an example of a resource that is listed, created, read, replaced and deleted."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..models import NewNote, Note, NotePage, NoteRow, PageQuery
from ..web.problems import Problem


def index(query: PageQuery, session: Session) -> NotePage:
    chosen = select(NoteRow).where(NoteRow.id > query.after).order_by(NoteRow.id)
    rows = session.scalars(chosen.limit(query.limit + 1)).all()
    items = [Note.of(row) for row in rows[: query.limit]]
    return NotePage(items=items, next=items[-1].id if len(rows) > query.limit else None)


def create(body: NewNote, session: Session, clock: Callable[[], datetime]) -> Note:
    now = clock()
    row = NoteRow(title=body.title, body=body.body, created_at=now, updated_at=now)
    session.add(row)
    session.flush()
    return Note.of(row)


def show(note_id: int, session: Session) -> Note:
    return Note.of(_find(session, note_id))


def replace(note_id: int, body: NewNote, session: Session, clock: Callable[[], datetime]) -> Note:
    row = _find(session, note_id)
    row.title, row.body, row.updated_at = body.title, body.body, clock()
    return Note.of(row)


def delete(note_id: int, session: Session) -> None:
    session.delete(_find(session, note_id))


def _find(session: Session, note_id: int) -> NoteRow:
    row = session.get(NoteRow, note_id)
    if row is None:
        raise Problem(404, f"There is no note {note_id}.")
    return row
