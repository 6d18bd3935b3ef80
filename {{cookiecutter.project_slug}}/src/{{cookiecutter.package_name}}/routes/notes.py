"""Notes: an example of a resource that clients list, create, read, replace and delete."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from bottle_service.database.pages import read_page
from bottle_service.http import IfMatch, Problem

from ..models import Note
from ..schemas import ListQuery, NoteCreate, NoteList, NoteOut


def index(query: ListQuery, session: Session) -> NoteList:
    page = read_page(session, select(Note), by=Note.id, after=query.after, limit=query.limit)
    return NoteList(items=[NoteOut.from_row(note) for note in page.items], next=page.next)


def create(body: NoteCreate, session: Session, clock: Callable[[], datetime]) -> NoteOut:
    now = clock()
    note = Note(title=body.title, body=body.body, created_at=now, updated_at=now)
    session.add(note)
    session.flush()
    return NoteOut.from_row(note)


def show(note_id: int, session: Session) -> NoteOut:
    return NoteOut.from_row(_find(session, note_id))


def replace(
    note_id: int,
    body: NoteCreate,
    if_match: IfMatch,
    session: Session,
    clock: Callable[[], datetime],
) -> NoteOut:
    note = _find(session, note_id)
    if_match.check(note)
    note.title, note.body = body.title, body.body
    if session.is_modified(note):
        note.updated_at = clock()
        session.flush()
    return NoteOut.from_row(note)


def delete(note_id: int, if_match: IfMatch, session: Session) -> None:
    note = _find(session, note_id)
    if_match.check(note)
    session.delete(note)


def _find(session: Session, note_id: int) -> Note:
    note = session.get(Note, note_id)
    if note is None:
        raise Problem(404, f"There is no note {note_id}.")
    return note
