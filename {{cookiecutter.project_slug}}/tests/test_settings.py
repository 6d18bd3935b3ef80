"""Where settings come from, and that every wrong one is named before the service starts."""

import re
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.environment import BootError
from {{ cookiecutter.package_name }}.settings import SECRETS, Bind, Settings, load_settings

from .service import ROOT
from .stack import client

STRONG = "s" * 32


def problems(environ: dict[str, str]) -> list[str]:
    with pytest.raises(BootError) as caught:
        load_settings(environ)
    return [str(problem) for problem in caught.value.problems]


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_production_is_the_default() -> None:
    settings = load_settings({})
    assert settings == Settings()
    assert settings.app_env == "production"
    assert settings.log_format == "json"


def test_development_reads_two_files_and_the_environment_wins() -> None:
    Path(".env").write_text("WEB_THREADS=2\nLOG_LEVEL=DEBUG\nTRUSTED_PROXIES=1\n")
    Path(".env.development").write_text("export WEB_THREADS='3' # three\nLOG_LEVEL=ERROR\n")
    Path(".env.test").write_text("WEB_THREADS=nonsense\n")
    settings = load_settings({"APP_ENV": "development", "LOG_LEVEL": "WARNING"})
    assert (settings.web_threads, settings.log_level, settings.trusted_proxies) == (3, "WARNING", 1)
    assert settings.log_format == "text"


def test_production_reads_only_the_file_it_is_told() -> None:
    Path(".env").write_text("nonsense")
    Path("service.env").write_text("WEB_THREADS=7\n")
    assert load_settings({}).web_threads == 4
    assert load_settings({"ENV_FILE": "service.env"}).web_threads == 7


def test_a_blank_value_is_none() -> None:
    """It hides none of another place, and is no second one of its own."""
    assert load_settings({"WEB_THREADS": "", "API_TOKENS": ""}) == Settings()
    Path(".env").write_text("WEB_THREADS=\nWEB_THREADS=2\n")
    Path(".env.test").write_text("WEB_THREADS=\n")
    assert load_settings({"APP_ENV": "test", "WEB_THREADS": ""}).web_threads == 2


def test_nothing_is_interpolated() -> None:
    Path(".env").write_text("WEB_THREADS=8\nLOG_LEVEL=${WEB_THREADS}\n")
    assert "'${WEB_THREADS}' is not one of" in problems({"APP_ENV": "test"})[0]


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("127.0.0.1:80", Bind(host="127.0.0.1", port=80)),
        ("[::1]:8000", Bind(host="::1", port=8000)),
        ("unix:/run/a.sock", Bind(path="/run/a.sock")),
    ],
)
def test_bind(text: str, bind: Bind) -> None:
    assert load_settings({"BIND": text}).bind == bind
    assert str(bind) == text


def test_port_alone_listens_everywhere() -> None:
    assert str(load_settings({"PORT": "5000"}).bind) == "0.0.0.0:5000"
    assert str(load_settings({"PORT": "5000", "BIND": "[::1]:1"}).bind) == "[::1]:1"


@pytest.mark.parametrize(
    "text",
    ["8000", "host", "host:0", "host:65536", "unix:a.sock", "::1:80", "[x]:1", "[...]:80", ":1"],
)
def test_a_wrong_bind(text: str) -> None:
    assert [problem.split()[0] for problem in problems({"BIND": text})] == ["BIND"]


def test_a_secret_may_come_from_a_file_or_a_credential() -> None:
    Path("API_TOKENS").write_text(f"me:{STRONG}\n")
    for environ in (
        {"API_TOKENS": f"me:{STRONG}"},
        {"API_TOKENS_FILE": "API_TOKENS"},
        {"CREDENTIALS_DIRECTORY": "."},
        {"API_TOKENS": "", "CREDENTIALS_DIRECTORY": "."},
    ):
        assert load_settings(environ).api_tokens.name_of(STRONG) == "me"


def test_every_problem_is_named_at_once_and_no_secret() -> None:
    secret = "hunter2-hunter2"
    Path("API_TOKENS").write_text(f"you:{secret}")
    Path("service.env").write_text(
        "\n# a comment\nWEB_TREADS=3\nBIND=127.0.0.1:99999\n\nLOG_LEVEL=INFO\nLOG_LEVEL=INFO\n"
        f"this is {secret}\nENV_FILE=x\nWEB_THREADS=many\n"
    )
    found = problems(
        {
            "ENV_FILE": "service.env",
            "API_TOKENS": f"me:{secret}",
            "CREDENTIALS_DIRECTORY": ".",
            "LOG_FORMAT": "xml",
        }
    )
    assert found == [
        "WEB_TREADS (service.env line 3): is not a setting of this service; did you mean WEB_THREADS?",
        "LOG_LEVEL (service.env line 7): is set twice; first at service.env line 6",
        "service.env line 8: is not of the form NAME=value",
        "ENV_FILE (service.env line 9): is taken from the process environment only",
        "API_TOKENS (environment and credential API_TOKENS): is given more than once",
        "BIND (service.env line 4): port 99999 is not between 1 and 65535",
        "LOG_FORMAT (environment): 'xml' is not one of json, text",
        "WEB_THREADS (service.env line 10): 'many' is wrong: expected int, got str",
        "API_TOKENS (environment): a token has fewer than 32 characters",
    ]
    assert secret not in "".join(found)


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"APP_ENV": "staging"}, "APP_ENV (environment): 'staging' is not one of"),
        ({"ENV_FILE": "none.env"}, "ENV_FILE (none.env): cannot read none.env: No such file"),
        ({"API_TOKENS_FILE": "none"}, "API_TOKENS_FILE (environment): cannot read none: No such"),
        ({"API_TOKENS": STRONG}, "API_TOKENS (environment): entry 1 is not name:token"),
        ({"API_TOKENS": f"{STRONG}:me"}, "API_TOKENS (environment): entry 1 is not name:token"),
        ({"API_TOKENS": "a:b,me:sec ret"}, "API_TOKENS (environment): the token of entry 2 is"),
        ({"API_TOKENS": f"a:=b{STRONG}"}, "API_TOKENS (environment): the token of entry 1 is"),
        ({"ADMIN_TOKEN": f"a=b{STRONG}"}, "ADMIN_TOKEN (environment): the token of entry 1 is"),
        ({"ADMIN_TOKEN": "short"}, "ADMIN_TOKEN (environment): a token has fewer than 32"),
        ({"API_TOKENS": f"a:{STRONG},a:{STRONG}"}, "API_TOKENS (environment): two tokens have"),
        ({"PORT": "80a"}, "PORT (environment): '80a' is not a port"),
        ({"PORT": "80a", "BIND": "[::1]:1"}, "PORT (environment): '80a' is not a port"),
        ({"CORS_ORIGINS": "b.example"}, "CORS_ORIGINS (environment): 'b.example' is not an origin"),
        ({"PORT": "0"}, "BIND (PORT, environment): port 0 is not between 1 and 65535"),
        ({"TRUSTED_PROXIES": "-1"}, "TRUSTED_PROXIES (environment): '-1' is wrong: expected int"),
        ({"REQUEST_DEADLINE": "60"}, "REQUEST_DEADLINE (environment): '60' is wrong: expected"),
        # <% if cookiecutter.database == "sqlite" %>
        ({"DATABASE_URL": "sqlite:///:memory:"}, "DATABASE_URL (environment): must be sqlite:///"),
        ({"DATABASE_URL": "mysql://me:pw@db"}, "DATABASE_URL (environment): must be sqlite:///"),
        # <% endif %>
    ],
)
def test_a_wrong_setting(environ: dict[str, str], problem: str) -> None:
    (found,) = problems(environ)
    assert found.startswith(problem)
    assert "sec ret" not in found
    assert STRONG not in found
    assert "pw" not in found


def test_a_file_that_is_not_text() -> None:
    Path("service.env").write_bytes(b"LOG_LEVEL=\xff\n")
    assert problems({"ENV_FILE": "service.env"}) == [
        "ENV_FILE (service.env): service.env is not UTF-8 text"
    ]


def test_a_token_that_is_taken_can_be_sent() -> None:
    token = f"AZaz09._~+/-{STRONG}=="
    tokens = load_settings({"API_TOKENS": f"me:{token}"}).api_tokens
    app = client(lambda app: app.route("/", "GET", lambda: 1), caller_name=tokens.name_of)
    app.get("/", headers={"Authorization": f"Bearer {token}"}, status=200)


def test_a_file_that_cannot_be_reached() -> None:
    """One that leads to itself stands for one without permission: root may read everything."""
    for name in ("API_TOKENS", ".env"):
        Path(name).symlink_to(name)
    (problem,) = problems({"CREDENTIALS_DIRECTORY": "."})
    assert problem.startswith("API_TOKENS (credential): cannot read API_TOKENS: Too many")
    (problem,) = problems({"APP_ENV": "test"})
    assert problem.startswith(".env: cannot read .env: Too many")


def test_tokens_do_not_show() -> None:
    assert STRONG not in repr(load_settings({"API_TOKENS": f"me:{STRONG}"}))


def test_the_example_has_every_setting_with_its_default() -> None:
    example = (ROOT / ".env.example").read_text()
    entries = dict(re.findall(r"^#([A-Z_]+)=(.*)$", example, re.MULTILINE))
    fields = {name.upper() for name in Settings.__struct_fields__} - {"APP_ENV"}
    assert {name for name in entries if not name.endswith("_FILE")} == fields | {"PORT"}
    files = {name.removesuffix("_FILE") for name in entries if name.endswith("_FILE")}
    assert files == SECRETS
    Path("service.env").write_text("\n".join(f"{name}={text}" for name, text in entries.items()))
    assert repr(load_settings({"ENV_FILE": "service.env"})) == repr(Settings())


def test_documents_and_deploy_files_name_settings_that_there_are() -> None:
    known = {name.upper() for name in Settings.__struct_fields__} | {"ENV_FILE"}
    # What systemd, Bash and the kernel call something.
    others = {"AF_INET", "AF_UNIX", "BASH_SOURCE", "CREDENTIALS_DIRECTORY"}
    others |= {"LISTEN_FDS", "LISTEN_PID"}
    # <% if cookiecutter.wsgi_server == "uwsgi" %>
    others |= {"PATH_INFO", "QUERY_STRING", "REQUEST_METHOD"}
    others |= {"SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL"}
    # <% endif %>
    named = {
        (str(path.relative_to(ROOT)), name)
        for place in ("README.md", "docs/*", "deploy/**/*")
        for path in ROOT.glob(place)
        if path.is_file()
        # <% if cookiecutter.wsgi_server == "uwsgi" %>
        for name in re.findall(r"(?<!uwsgi_param )\b(?!CAP_)[A-Z]+(?:_[A-Z]+)+", path.read_text())
        # <% else %>
        for name in re.findall(r"\b(?!CAP_)[A-Z]+(?:_[A-Z]+)+", path.read_text())
        # <% endif %>
    }
    assert len({name for _, name in named} & known) > 5
    assert [(path, name) for path, name in sorted(named) if name not in known | others] == []
