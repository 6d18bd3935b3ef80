"""uWSGI's files agree with the service and with Nginx."""

from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.settings import Settings

from .deploy_files import DEPLOY, ROOT, SLUG, read


@pytest.mark.parametrize(
    "path", [ROOT / "uwsgi.ini", *sorted(DEPLOY.glob("uwsgi/*.ini"))], ids=lambda path: path.name
)
def test_uwsgi_rejects_unknown_names(path: Path) -> None:
    """Without this line uWSGI ignores them without a warning."""
    assert "strict = true" in path.read_text(encoding="utf-8").splitlines()


def test_settings_file_names_the_socket_of_nginx() -> None:
    settings, _, _ = Settings.read({"ENV_FILE": str(DEPLOY / f"{SLUG}.env")})
    assert f"    server {settings.bind} " in read("deploy/nginx/SLUG.conf")
