import json
import logging
import os
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session

from bottle_service.commands import command

from .models import Note  # type: ignore[import-not-found]
from .settings import Settings  # type: ignore[import-not-found]

FAILURE = Path("/etc/my-service/tick-fails")
SECONDS = Path("/etc/my-service/tick-seconds")


@command
def tick(session: Session, clock: Callable[[], datetime], settings: Settings) -> None:
    """Write a note, some seconds after its beginning."""
    extra = {"user": os.getuid(), "secrets": len(settings.api_tokens.clients), "cwd": os.getcwd()}
    logging.getLogger(__name__).info("tick began", extra=extra)
    time.sleep(float(SECONDS.read_text()))
    now = clock()
    session.add(Note(title=f"tick in {os.getpid()}", body="", created_at=now, updated_at=now))
    if FAILURE.exists():
        raise RuntimeError("the partner does not respond")
    import wave  # a module that is loaded only now

    json.dumps(wave.__file__)
