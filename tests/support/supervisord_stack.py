"""Nginx stack whose service runs under supervisord."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .nginx_stack import NginxStack


class SupervisordStack(NginxStack):
    """Stack that starts supervisord with the generated files, except for users and paths."""

    @contextlib.contextmanager
    def service_running(self) -> Iterator[NginxStack]:
        self.socket = f"/run/{self.slug}/{self.slug}.sock"
        self._put_files()
        with super().service_running() as stack:
            yield stack

    def _put_files(self) -> None:
        here, sources = self.directory, self.project / "deploy" / "supervisor"
        moved = {
            self.socket: f"{here}/service.sock",
            f"/run/{self.slug}/tmp": f"{here}/tmp",  # noqa: S108
            f"/opt/{self.slug}/current/": f"{self.project}/",
            f"/etc/{self.slug}/{self.slug}.env": f"{here}/settings.env",
            f"/etc/{self.slug}/credentials": f"{here}/credentials",
            f"/var/log/{self.slug}/{self.slug}.log": f"{here}/service.log",
            "socket_owner=root:www-data": "",
            f"user={self.slug}": "",
            "$release/.venv/bin/python": f"{here}/python",
        }
        text = {name: (sources / name).read_text() for name in (f"{self.slug}.conf", "run.sh")}
        assert all(theirs in "".join(text.values()) for theirs in moved)
        for name in text:
            for theirs, ours in moved.items():
                text[name] = text[name].replace(theirs, ours)
        settings = Path(self.environ["ENV_FILE"]).read_text()
        (here / "settings.env").write_text(settings.replace(self.socket, moved[self.socket]))
        user = "user=root" if os.getuid() == 0 else ""
        main = f"[supervisord]\nlogfile={here}/supervisord.log\npidfile={here}/pid\n{user}\n"
        (here / "supervisord.conf").write_text(main + text[f"{self.slug}.conf"])
        (sources / "run.sh").write_text(text["run.sh"])
        # The service uses the packages of the tests' environment.
        (here / "python").write_text(
            f'#!/bin/sh\nPYTHONPATH={self.project}/src exec {sys.executable} "$@"\n'
        )
        (here / "python").chmod(0o755)
        (here / "tmp").mkdir()
        (here / "credentials").mkdir()
        for name in {"API_TOKENS", "ADMIN_TOKEN", "DATABASE_URL"} & self.environ.keys():
            (here / "credentials" / name).write_text(self.environ[name])

    def start_service(self) -> None:
        supervisord = [sys.executable, "-m", "supervisor.supervisord", "--nodaemon"]
        configuration = ["--configuration", f"{self.directory}/supervisord.conf"]
        self.service = subprocess.Popen([*supervisord, *configuration], stdout=subprocess.DEVNULL)
        self._wait(self._serves)
