"""supervisord's files agree with the service and with Nginx."""

import re

from {{ cookiecutter.package_name }} import app

from .deploy_files import SLUG, read

RUN = read("deploy/supervisor/run.sh")


def test_program_starts_the_service_with_its_settings_and_secrets() -> None:
    variables = {
        "APP_ENV": "production",
        "ENV_FILE": f"/etc/{SLUG}/{SLUG}.env",
        "CREDENTIALS_DIRECTORY": f"/etc/{SLUG}/credentials",
    }
    environment = RUN.partition(" env -i ")[2]
    assert variables.items() <= dict(re.findall(r"\b([A-Z_]+)=(\S+)", environment)).items()
    assert f'/.venv/bin/python" -m {app.SERVICE.package} ' in RUN


def test_nginx_connects_to_the_socket_of_supervisord() -> None:
    program, nginx = read("deploy/supervisor/SLUG.conf"), read("deploy/nginx/SLUG.conf")
    (socket,) = re.findall(r"^socket=unix://(/\S+)$", program, re.MULTILINE)
    assert re.findall(r"^ +server unix:/?(/run\S+)", nginx, re.MULTILINE) == [socket] * 2
