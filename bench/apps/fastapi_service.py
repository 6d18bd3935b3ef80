"""A FastAPI service with the features of the generated one, built with the usual libraries.

Settings from the environment (pydantic-settings), a database session (SQLAlchemy), a histogram
(prometheus-client), a JSON access line (structlog), request IDs and security headers.
"""

import logging
import re
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import structlog
from fastapi import Depends, FastAPI, HTTPException, Response
from prometheus_client import CONTENT_TYPE_LATEST, Histogram, generate_latest
from pydantic import BaseModel
from pydantic_settings import BaseSettings
from sqlalchemy import create_engine, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"cache-control", b"no-store"),
]
harmless_id = re.compile(rb"[A-Za-z0-9._-]{8,64}").fullmatch


class Settings(BaseSettings):
    database_url: str = "sqlite://"
    log_level: str = "INFO"


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


class NewNote(BaseModel):
    text: str


class Thing(BaseModel):
    message: str
    id: int
    ok: bool


settings = Settings()
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ],
    wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.log_level)),
    logger_factory=structlog.WriteLoggerFactory(sys.stderr),
)
logger = structlog.get_logger()
engine = create_engine(settings.database_url)
Base.metadata.create_all(engine)
duration = Histogram(
    "http_server_request_duration_seconds", "Duration.", ["method", "route", "status"]
)


class Observe:
    """ASGI middleware: request ID, security headers, histogram and access line."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        request_id = given if harmless_id(given) else uuid.uuid4().hex.encode()
        structlog.contextvars.bind_contextvars(request_id=request_id.decode())
        begun = time.perf_counter()
        status, size = 500, 0

        async def observed(message: Any) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] += [(b"x-request-id", request_id), *HEADERS]
            else:
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, observed)
        finally:
            seconds = time.perf_counter() - begun
            route = getattr(scope.get("route"), "path", "")
            duration.labels(scope["method"], route, status).observe(seconds)
            logger.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                route=route,
                status=status,
                bytes=size,
                duration=seconds,
                client=scope["client"][0],
            )
            structlog.contextvars.clear_contextvars()


app = FastAPI(title="bench")
app.add_middleware(Observe)


def session() -> Iterator[Session]:
    with transaction() as opened:
        yield opened


@contextmanager
def transaction() -> Iterator[Session]:
    with Session(engine) as opened, opened.begin():
        yield opened


Database = Annotated[Session, Depends(session)]


@app.get("/livez")
async def live() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/readyz")
def ready(database: Database) -> dict[str, str]:
    database.execute(text("SELECT 1"))
    return {"status": "ok"}


@app.get("/metrics")
async def metrics() -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@app.get("/thing")
async def thing() -> Thing:
    return Thing(message="hello", id=42, ok=True)


@app.get("/notes/{note_id}")
def show(note_id: int, database: Database) -> dict[str, object]:
    note = database.scalar(select(Note).where(Note.id == note_id))
    if note is None:
        raise HTTPException(404)
    return {"id": note.id, "text": note.text}


@app.post("/notes", status_code=201)
def create(body: NewNote, database: Database) -> dict[str, object]:
    note = Note(text=body.text)
    database.add(note)
    database.flush()
    return {"id": note.id, "text": note.text}
