"""The commands of the service: seeds, repairs, and jobs that a timer runs.

    @command
    def send_reminders(session: Session, clock: Callable[[], datetime], *, limit: int = 100) -> None:
        'Send a reminder for each overdue loan.'

with `from bottle_service.commands import command` is `python -m {{ cookiecutter.package_name }} send-reminders --limit 10`.
It gets the dependencies of `app.py`, as a handler does, and runs in one transaction; see
docs/how-to/commands.md.
"""
