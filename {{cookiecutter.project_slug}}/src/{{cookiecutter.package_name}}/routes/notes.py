"""Notes: an example of a resource that clients list, create, read, replace and delete."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from bottle_service.http import Problem

from ..models import Note
from ..schemas import ListQuery, NoteCreate, NoteList, NoteOut


def index(query: ListQuery, session: Session) -> NoteList:
    """List notes, oldest first."""
    following = select(Note).where(Note.id > query.after).order_by(Note.id)
    notes = session.scalars(following.limit(query.limit + 1)).all()
    items = [NoteOut.from_row(note) for note in notes[: query.limit]]
    return NoteList(items=items, next=items[-1].id if len(notes) > query.limit else None)


def create(body: NoteCreate, session: Session, clock: Callable[[], datetime]) -> NoteOut:
    """Create a note."""
    now = clock()
    note = Note(title=body.title, body=body.body, created_at=now, updated_at=now)
    session.add(note)
    session.flush()
    return NoteOut.from_row(note)


def show(note_id: int, session: Session) -> NoteOut:
    """Return a note."""
    return NoteOut.from_row(_find(session, note_id))


def replace(
    note_id: int, body: NoteCreate, session: Session, clock: Callable[[], datetime]
) -> NoteOut:
    """Replace a note."""
    note = _find(session, note_id)
    note.title, note.body, note.updated_at = body.title, body.body, clock()
    return NoteOut.from_row(note)


def delete(note_id: int, session: Session) -> None:
    """Delete a note."""
    session.delete(_find(session, note_id))


def _find(session: Session, note_id: int) -> Note:
    note = session.get(Note, note_id)
    if note is None:
        raise Problem(404, f"There is no note {note_id}.")
    return note
