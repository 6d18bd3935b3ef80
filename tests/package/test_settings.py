"""The settings of every service: their types, their defaults, and their problems."""

from pathlib import Path

import pytest

from bottle_service.database.url import DatabaseUrl
from bottle_service.settings import Bind, ServiceSettings
from bottle_service.startup import StartupError

from .apps import client_for

STRONG = "s" * 32

pytestmark = pytest.mark.usefixtures("empty_directory")


class Settings(ServiceSettings, frozen=True, kw_only=True):
    database_url: DatabaseUrl = DatabaseUrl("sqlite:////var/lib/service/db.sqlite3")


@pytest.fixture
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(**environ: str) -> Settings:
    return Settings.load(environ)


def problems_of(**environ: str) -> list[str]:
    with pytest.raises(StartupError) as caught:
        load(**environ)
    return [str(problem) for problem in caught.value.problems]


def test_defaults_are_those_of_production() -> None:
    assert repr(load()) == repr(Settings())
    assert (load().app_env, load().log_format) == ("production", "json")
    assert load(APP_ENV="development").log_format == "text"


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("127.0.0.1:80", Bind(host="127.0.0.1", port=80)),
        ("[::1]:8000", Bind(host="::1", port=8000)),
        ("unix:/run/a.sock", Bind(path="/run/a.sock")),
    ],
)
def test_bind_is_parsed_and_printed_alike(text: str, bind: Bind) -> None:
    assert load(BIND=text).bind == bind
    assert str(bind) == text


@pytest.mark.parametrize(
    "text",
    ["8000", "host", "host:0", "host:65536", "unix:a.sock", "::1:80", "[x]:1", "[...]:80", ":1"],
)
def test_invalid_bind_is_a_problem(text: str) -> None:
    assert [problem.split()[0] for problem in problems_of(BIND=text)] == ["BIND"]


def test_port_alone_listens_on_all_addresses() -> None:
    assert str(load(PORT="5000").bind) == "0.0.0.0:5000"
    assert str(load(PORT="5000", BIND="[::1]:1").bind) == "[::1]:1"


def test_port_alone_listens_on_loopback_in_development() -> None:
    assert str(load(APP_ENV="development", PORT="5000").bind) == "127.0.0.1:5000"


@pytest.mark.parametrize(
    ("file", "environ", "bind"),
    [
        ("BIND=[::1]:1", {"PORT": "5000"}, "127.0.0.1:5000"),
        ("PORT=5000", {"BIND": "[::1]:1"}, "[::1]:1"),
        ("BIND=[::1]:1\nPORT=5000", {}, "[::1]:1"),
        ("BIND=[::1]:1", {"PORT": "5000", "BIND": "[::1]:2"}, "[::1]:2"),
        ("BIND=[::1]:1", {"PORT": ""}, "[::1]:1"),
    ],
)
def test_port_of_the_environment_wins_over_bind_of_a_file(
    file: str, environ: dict[str, str], bind: str
) -> None:
    Path(".env").write_text(file)
    assert str(load(APP_ENV="development", **environ).bind) == bind


def test_path_of_a_unix_socket_has_at_most_107_bytes() -> None:
    """The size of sun_path: unix(7)."""
    assert load(BIND=f"unix:/{'ä' * 53}").bind.path
    (problem,) = problems_of(BIND=f"unix:/{'ä' * 53}x")
    assert "is longer than 107 bytes, the limit of a unix socket" in problem


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"API_TOKENS": STRONG}, "API_TOKENS (environment): entry 1 is not name:token"),
        ({"API_TOKENS": f"{STRONG}:me"}, "API_TOKENS (environment): entry 1 is not name:token"),
        ({"API_TOKENS": "a:b,me:sec ret"}, "API_TOKENS (environment): the token of entry 2 is"),
        ({"API_TOKENS": f"a:=b{STRONG}"}, "API_TOKENS (environment): the token of entry 1 is"),
        ({"ADMIN_TOKEN": f"a=b{STRONG}"}, "ADMIN_TOKEN (environment): the token of entry 1 is"),
        ({"ADMIN_TOKEN": "short"}, "ADMIN_TOKEN (environment): a token has fewer than 32"),
        ({"API_TOKENS": "a:short"}, "API_TOKENS (environment): a token has fewer than 32"),
        ({"API_TOKENS": f"a:{STRONG},a:{STRONG}"}, "API_TOKENS (environment): two tokens have"),
        ({"PORT": "80a"}, "PORT (environment): '80a' is not a port"),
        ({"PORT": "80a", "BIND": "[::1]:1"}, "PORT (environment): '80a' is not a port"),
        ({"PORT": "0"}, "BIND (PORT, environment): port 0 is not between 1 and 65535"),
        ({"CORS_ORIGINS": "b.example"}, "CORS_ORIGINS (environment): 'b.example' is not an origin"),
        ({"LOG_FORMAT": "xml"}, "LOG_FORMAT (environment): 'xml' is not one of json, text"),
        (
            {"TRUSTED_PROXY_COUNT": "-1"},
            "TRUSTED_PROXY_COUNT (environment): '-1' is invalid: expected int",
        ),
        ({"REQUEST_DEADLINE": "60"}, "REQUEST_DEADLINE (environment): '60' is invalid: expected"),
        ({"DATABASE_URL": "sqlite:///:memory:"}, "DATABASE_URL (environment): must be sqlite:///"),
        ({"DATABASE_URL": "mysql://me:pw@db"}, "DATABASE_URL (environment): must be sqlite:///"),
    ],
)
def test_invalid_setting_is_a_problem_that_quotes_no_secret(
    environ: dict[str, str], problem: str
) -> None:
    (found,) = problems_of(**environ)
    assert found.startswith(problem)
    for secret in ("sec ret", STRONG, "pw"):
        assert secret not in found


def test_every_problem_is_reported_at_once_without_a_secret() -> None:
    secret = "hunter2-hunter2"
    Path("API_TOKENS").write_text(f"you:{secret}")
    Path("service.env").write_text(
        "\n# a comment\nWEB_TREADS=3\nBIND=127.0.0.1:99999\n\nLOG_LEVEL=INFO\nLOG_LEVEL=INFO\n"
        f"this is {secret}\nENV_FILE=x\nWEB_THREADS=many\n"
    )
    found = problems_of(
        ENV_FILE="service.env",
        API_TOKENS=f"me:{secret}",
        CREDENTIALS_DIRECTORY=".",
        LOG_FORMAT="xml",
    )
    assert found == [
        "WEB_TREADS (service.env line 3): is not a setting of this service; did you mean WEB_THREADS?",
        "LOG_LEVEL (service.env line 7): is set twice; first at service.env line 6",
        "service.env line 8: is not of the form NAME=value",
        "ENV_FILE (service.env line 9): is read from the process environment only",
        "API_TOKENS (environment and credential API_TOKENS): is set more than once; keep one source",
        "BIND (service.env line 4): port 99999 is not between 1 and 65535",
        "LOG_FORMAT (environment): 'xml' is not one of json, text",
        "WEB_THREADS (service.env line 10): 'many' is invalid: expected int",
        "API_TOKENS (environment): a token has fewer than 32 characters",
    ]
    assert secret not in "".join(found)


@pytest.mark.parametrize("app_env", ["development", "test"])
def test_short_token_is_accepted_outside_of_production(app_env: str) -> None:
    assert load(APP_ENV=app_env, API_TOKENS="me:short").api_tokens.authenticate("short") == "me"


@pytest.mark.parametrize("token", [f"AZaz09._~+/-{STRONG}==", STRONG])
def test_accepted_token_can_be_sent(token: str) -> None:
    tokens = load(API_TOKENS=f"other:{'o' * 32},me:{token}").api_tokens
    client = client_for(
        ("GET", "/", lambda: 1, {"public": False}), authenticate_client=tokens.authenticate
    )
    client.get("/", headers={"Authorization": f"Bearer {token}"}, status=200)
    assert tokens.authenticate(token) == "me"
    assert tokens.authenticate("none") is None


def test_admin_token_may_be_two_for_rotation() -> None:
    tokens = load(ADMIN_TOKEN=f"{STRONG}, {'n' * 32}").admin_token
    assert tokens.authenticate(STRONG)
    assert tokens.authenticate("n" * 32)


def test_secrets_are_the_fields_of_a_secret_type() -> None:
    assert Settings.secrets() == {"API_TOKENS", "ADMIN_TOKEN", "DATABASE_URL"}


def test_settings_do_not_show_their_secrets() -> None:
    assert STRONG not in repr(load(API_TOKENS=f"me:{STRONG}"))


def test_former_name_trusted_proxies_is_accepted_with_a_warning() -> None:
    settings, problems, warnings = Settings.read({"TRUSTED_PROXIES": "2"})
    assert (settings.trusted_proxy_count, problems) == (2, [])
    assert [str(warning) for warning in warnings] == [
        "TRUSTED_PROXIES (environment): is now called TRUSTED_PROXY_COUNT; rename it, because the "
        "former name will stop working"
    ]


def test_trusted_proxies_under_both_names_is_a_problem() -> None:
    assert problems_of(TRUSTED_PROXIES="1", TRUSTED_PROXY_COUNT="1") == [
        "TRUSTED_PROXIES (environment): is the former name of TRUSTED_PROXY_COUNT, which is set too"
    ]
