"""gunicorn.conf.py agrees with Gunicorn and with Nginx."""

import ast

from gunicorn.config import Config

from .deploy_files import read, seconds


def test_gunicorn_knows_every_setting() -> None:
    """Gunicorn ignores an unknown name without a warning."""
    tree = ast.parse(read("gunicorn.conf.py"))
    names = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    names |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    unknown = sorted(name for name in names - set(Config().settings) if not name.startswith("_"))
    assert not unknown, (
        f"gunicorn.conf.py: Gunicorn has no setting {unknown[0]}; start own names with _"
    )


def test_gunicorn_keeps_idle_connections_longer_than_nginx() -> None:
    """Otherwise Nginx would send a request into a connection that Gunicorn is closing."""
    (gunicorn,) = seconds("keepalive", read("gunicorn.conf.py"))
    (nginx,) = seconds("keepalive_timeout", read("deploy/nginx/SLUG.conf"))
    assert nginx < gunicorn
