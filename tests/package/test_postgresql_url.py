"""DATABASE_URL of PostgreSQL: accepted forms, and reasons that quote no password."""

import pytest

from bottle_service.database.postgresql_url import DatabaseUrl


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///my-service",
        "postgresql://me@/db?host=/run/other",
        "postgresql://me:p%40ss@db.example.com:5433/db?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        "postgresql://me:pw@[::1]/db",
        "postgresql://me:pw@/db?host=a&host=b&port=5432&port=5433&target_session_attrs=read-write",
        "postgresql:///db?options=",
    ],
)
def test_url_is_accepted(url: str) -> None:
    assert DatabaseUrl.parse(url).reveal() == url


def test_other_name_of_the_scheme_is_rewritten() -> None:
    assert DatabaseUrl.parse("postgres://me:pw@db/x").reveal() == "postgresql://me:pw@db/x"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:///x", "must be postgresql:///NAME"),
        ("mysql://me:geheim@db/x", "must be postgresql:///NAME"),
        ("postgresql:geheim", "must be postgresql:///NAME"),
        ("postgresql://me:ge@heim@db/x", "percent-encode"),
        ("postgresql://me:ge/heim@db/x", "percent-encode"),
        ("postgresql://me:ge?heim@db/x", "percent-encode"),
        ("postgresql://me:ge#heim@db/x", "percent-encode"),
        ("postgresql://me:ge heim@db/x", "percent-encode"),
        ("postgresql://me:ge%heim@db/x", "percent-encode %"),
        ("postgresql://me:ge:heim@db/x", "percent-encode"),
        ("postgresql://me:geheim@a,b/x", "several hosts are"),
        ("postgresql://me:geheim@db:geheim/x", "must have user:password@host:port"),
        ("postgresql://me:geheim@db", "name of the database"),
        ("postgresql://me:geheim@db/", "name of the database"),
        ("postgresql://me:geheim@db/x?ssl=true", "unknown option 'ssl'"),
        ("postgresql://me:geheim@db/x?sslmode=on", "sslmode must be one of allow, disable"),
        ("postgresql://me@db/x?password=geheim", "write postgresql://user:password@host"),
    ],
)
def test_invalid_url_is_refused_without_its_password(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        DatabaseUrl.parse(url)
    assert reason in str(caught.value)
    assert "heim" not in str(caught.value)
