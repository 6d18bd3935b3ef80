"""The service against its OpenAPI document: generated requests, planted faults and generated clients.

schemathesis makes the requests, in the process of the application, with an environment of its own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from ..support.fixtures import Generate, Needs
from ..support.generate import TEMPLATE
from ..support.http_client import DOMAIN
from ..support.nginx_stack import NginxStack
from ..support.postgresql import Cluster
from ..support.process import free_port, run, terminate, wait_until_ready

TOKEN = "t" * 40
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
# The tools have requirements that no project has, so `uv tool run` installs each for itself.
CLIENT_GENERATOR = ("openapi-python-client==0.29.1", "openapi-python-client")
MODEL_GENERATOR = ("datamodel-code-generator==0.89.0", "datamodel-codegen")
REDOCLY = "@redocly/cli@2.77.0"


@pytest.fixture(scope="module")
def python(generated: Generate, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment for cases.py and the projects of both databases."""
    venv = tmp_path_factory.mktemp("contract") / "venv"
    run("uv", "venv", "--quiet", "--python", sys.executable, venv, cwd=TEMPLATE)
    locks = [generated(database="postgresql") / "requirements.txt", REQUIREMENTS]
    arguments = [word for lock in locks for word in ("-r", str(lock))]
    run("uv", "pip", "install", "--quiet", "--python", venv, *arguments, cwd=TEMPLATE)
    return venv / "bin" / "python"


class Result(NamedTuple):
    """The number of requests that cases.py sent, and the failures that it found."""

    requests: int
    failures: list[str]


def send_cases(
    python: Path,
    project: Path,
    directory: Path,
    application: str,
    count: int,
    seed: int,
    below: str = "/",
    **environ: str,
) -> Result:
    """Run cases.py in the directory, where the service has its database unless `environ` says so."""
    done = subprocess.run(
        [python, "-m", "tests.api_contract.cases", application, str(count), str(seed), below],
        cwd=directory,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{TEMPLATE}:{project}/src",
            "PYTHONDONTWRITEBYTECODE": "1",
            **environ,
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout, done.stderr
    return Result(**json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("application", "count", "seed", "at_least"),
    [
        ("service", 30, 1, 400),
        ("service", 10, 2, 300),
        ("service", 10, 3, 300),
        ("every_kind", 4, 1, 1000),
    ],
)
def test_each_response_is_documented(
    python: Path,
    generated: Generate,
    tmp_path: Path,
    application: str,
    count: int,
    seed: int,
    at_least: int,
) -> None:
    result = send_cases(python, generated(), tmp_path, application, count, seed)
    assert result.failures == []
    assert result.requests > at_least


def test_each_response_is_documented_on_postgresql(
    python: Path, generated: Generate, tmp_path: Path, postgresql: Cluster
) -> None:
    url = postgresql.url(postgresql.create_database())
    project = generated(database="postgresql")
    result = send_cases(python, project, tmp_path, "service", 4, 4, DATABASE_URL=url)
    assert result.failures == []
    assert result.requests > 200


def test_each_response_is_documented_through_nginx(
    python: Path, generated: Generate, tmp_path: Path, needs: Needs
) -> None:
    needs("nginx", "openssl")
    stack = NginxStack(generated(), tmp_path, changed={"rate=50r/s": "rate=5000r/s"})
    stack.environ |= {"API_TOKENS": f"tester:{TOKEN}", "ADMIN_TOKEN": "a" * 40}
    with stack.service_running(), stack.nginx_running():
        site = {"SITE": f"https://{DOMAIN}:{stack.https}", "CERTIFICATE": f"{stack.certificate}"}
        result = send_cases(python, generated(), tmp_path, "service", 4, 5, **site)
    assert result.failures == []
    assert result.requests > 200


HTTP, ROUTES = "src/bottle_service/http", "src/my_service/routes"
DECODE = "                value = decode(body)"


class Fault(NamedTuple):
    """A change of one line, and a part of the failure that must be reported."""

    file: str
    line: str
    replacement: str
    failure: str


# Each group is planted into one project; the failures of a group differ from each other.
FAULTS: list[dict[str, Fault]] = [
    {
        "a limit of 100 fails": Fault(
            f"{ROUTES}/notes.py",
            "limit=query.limit",
            "limit=query.limit // (query.limit < 100)",
            "GET /api/v1/notes: not_a_server_error",
        ),
        "DELETE keeps the note": Fault(
            f"{ROUTES}/notes.py",
            "session.delete(note)",
            "session.refresh(note)",
            "use_after_free",
        ),
        "unknown fields are accepted": Fault(
            f"{HTTP}/parsers.py",
            DECODE,
            "                value = msgspec.json.decode(body)\n"
            "                names = getattr(kind, '__struct_fields__', ())\n"
            "                if isinstance(value, dict):\n"
            "                    value = {n: value[n] for n in value if n in names}\n"
            "                value = msgspec.convert(value, kind)",
            "negative_data_rejection",
        ),
        "Allow is missing": Fault(
            f"{HTTP}/errors.py",
            'response.set_header("Allow", ", ".join(sorted(allowed)))',
            'response.headers.pop("Allow", None)',
            "without required `Allow` header",
        ),
    },
    {
        "numbers are accepted as texts": Fault(
            f"{HTTP}/parsers.py",
            DECODE,
            "                value = msgspec.json.decode(body)\n"
            "                if isinstance(value, dict):\n"
            "                    value = {n: str(v) for n, v in value.items()}\n"
            "                value = msgspec.convert(value, kind)",
            "negative_data_rejection",
        ),
        "one route needs no token": Fault(
            f"{HTTP}/auth.py",
            'if route.config.get("public"):',
            'if route.config.get("public") or (route.method == "GET" and ":id>" in route.rule):',
            "GET /api/v1/notes/{note_id}: ignored_auth",
        ),
        "next is a text": Fault(
            f"{ROUTES}/notes.py",
            "next=page.next",
            'next="x" if page.items else None',
            "GET /api/v1/notes: response_schema_conformance",
        ),
        "Location is missing": Fault(
            f"{HTTP}/handlers.py",
            "        if location_of:",
            "        if False:",
            "- `Location`",
        ),
        "Allow is wrong": Fault(
            f"{HTTP}/errors.py",
            '", ".join(sorted(allowed))',
            '"TRACE"',
            "allow_header_conformance",
        ),
    },
    {
        "the longest title is rejected": Fault(
            f"{HTTP}/parsers.py",
            DECODE,
            f"{DECODE}\n"
            "                if len(getattr(value, 'title', '')) == 200:\n"
            "                    raise msgspec.ValidationError('long')",
            "positive_data_acceptance",
        ),
        "any token is accepted": Fault(
            f"{HTTP}/auth.py",
            "authenticate(credentials[1]) if credentials",
            '"tester" if credentials',
            "ignored_auth",
        ),
        "a created note is 200": Fault(
            f"{HTTP}/handlers.py",
            "if status != 200:",
            "if status not in (200, 201):",
            "POST /api/v1/notes: status_code_conformance",
        ),
    },
    {
        "POST loses the note": Fault(
            f"{ROUTES}/notes.py",
            "    session.flush()\n    return NoteOut.from_row(note)",
            "    session.flush()\n"
            "    out = NoteOut.from_row(note)\n"
            "    session.delete(note)\n"
            "    return out",
            "ensure_resource_availability",
        ),
        "a problem is plain JSON": Fault(
            f"{HTTP}/problems.py",
            '"application/problem+json")], encode',
            '"application/json")], encode',
            "content_type_conformance",
        ),
        "NUL is accepted": Fault(
            f"{HTTP}/parsers.py", "        if nul:", "        if False:", "NUL in title"
        ),
        "401 has no WWW-Authenticate": Fault(
            f"{HTTP}/auth.py",
            'headers={"WWW-Authenticate": "Bearer"}',
            "headers={}",
            "- `WWW-Authenticate`",
        ),
    },
]


@pytest.mark.parametrize("faults", FAULTS, ids=lambda faults: next(iter(faults)))
def test_planted_faults_are_found(
    python: Path, copied: Generate, tmp_path: Path, faults: dict[str, Fault]
) -> None:
    project = copied()
    for fault in faults.values():
        source = (project / fault.file).read_text()
        assert fault.line in source, fault
        (project / fault.file).write_text(source.replace(fault.line, fault.replacement))
    (tmp_path / "run").mkdir()
    failures = send_cases(python, project, tmp_path / "run", "service", 10, 7, "/api/").failures
    missed = [
        name for name, fault in faults.items() if not any(fault.failure in one for one in failures)
    ]
    assert missed == [], [one[:200] for one in failures]


# Other programs that read the document


@pytest.fixture(scope="module")
def document(generated: Generate, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file openapi.json of the default project, as the command prints it."""
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    environ = {"PYTHONPATH": f"{generated()}/src", "APP_ENV": "test", "API_TOKENS": f"t:{TOKEN}"}
    path.write_text(run(sys.executable, "-m", "my_service", "openapi", cwd=path.parent, **environ))
    return path


@contextmanager
def served(project: Path, directory: Path) -> Iterator[str]:
    """Serve the project, and yield its URL."""
    port = free_port()
    environ = {
        **os.environ,
        "PYTHONPATH": f"{project}/src",
        "APP_ENV": "test",
        "API_TOKENS": f"t:{TOKEN}",
        "PORT": str(port),
    }
    command = [sys.executable, "-m", "my_service"]
    subprocess.run([*command, "migrate"], cwd=directory, env=environ, check=True)
    server = subprocess.Popen(
        [*command, "serve"], cwd=directory, env=environ, stderr=subprocess.DEVNULL
    )
    try:
        wait_until_ready(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        terminate(server)


def tool(requirement: tuple[str, str], *arguments: str | Path, cwd: Path) -> None:
    package, program = requirement
    run("uv", "tool", "run", "--quiet", "--from", package, program, *arguments, cwd=cwd)


def test_redocly_has_no_finding(document: Path, needs: Needs) -> None:
    """By its recommended rules, apart from a licence: that of the code is not that of the API."""
    needs("npx")
    lint = ["npx", "--yes", REDOCLY, "lint", "--skip-rule", "info-license", "--format", "json"]
    done = subprocess.run(
        [*lint, document], cwd=document.parent, check=False, capture_output=True, text=True
    )
    assert json.loads(done.stdout)["totals"] == {"errors": 0, "warnings": 0, "ignored": 0}


DRIVE = """
import sys
from datetime import datetime
from my_service_client import AuthenticatedClient
from my_service_client.api.notes import notes_create, notes_delete, notes_index, notes_replace, notes_show
from my_service_client.models import NoteCreate, ProblemDetails

url, token = sys.argv[1:]
client = AuthenticatedClient(base_url=url, token=token)
note = notes_create.sync(client=client, body=NoteCreate(title="Hello"))
assert isinstance(note.created_at, datetime), note
assert notes_show.sync(note.id, client=client) == note
changed = notes_replace.sync(
    note.id, client=client, body=NoteCreate(title="Bye", body="x"), if_match=f'"{note.version}"'
)
assert changed.title == "Bye"
assert [one.title for one in notes_index.sync(client=client, limit=1).items] == ["Bye"]
assert notes_delete.sync_detailed(note.id, client=client, if_match="*").status_code == 204
missing = notes_show.sync(note.id, client=client)
assert isinstance(missing, ProblemDetails) and missing.status == 404, missing
invalid = notes_create.sync(client=client, body=NoteCreate(title=""))
assert [one.pointer for one in invalid.errors] == ["/title"], invalid
"""


def test_generated_client_calls_the_service(
    python: Path, generated: Generate, document: Path, tmp_path: Path
) -> None:
    tool(
        CLIENT_GENERATOR,
        "generate",
        "--path",
        document,
        "--output-path",
        "client",
        "--meta",
        "none",
        cwd=tmp_path,
    )
    (tmp_path / "client").rename(tmp_path / "my_service_client")
    with served(generated(), tmp_path) as url:
        run(python, "-c", DRIVE, url, TOKEN, cwd=tmp_path)


def test_generated_models_are_those_of_the_service(document: Path, tmp_path: Path) -> None:
    """The types that the document describes become the same types again."""
    tool(
        MODEL_GENERATOR, "--input", document, "--output", "models.py", "--formatters", "builtin",
        "--output-model-type", "msgspec.Struct", "--target-python-version", "3.11", "--field-constraints",
        "--output-datetime-class", "datetime",
        cwd=tmp_path,
    )  # fmt: skip
    code = (
        "import models, msgspec\n"
        "from datetime import datetime\n"
        "fields = {one.name: one.type for one in msgspec.structs.fields(models.NoteOut)}\n"
        "assert fields['created_at'] is datetime, fields\n"
        'msgspec.json.decode(b\'{"title": "a"}\', type=models.NoteCreate)\n'
        "for body in (b'{\"title\": \"\"}', b'{\"title\": \"' + b'a' * 201 + b'\"}', b'{}'):\n"
        "    try: msgspec.json.decode(body, type=models.NoteCreate)\n"
        "    except msgspec.ValidationError: continue\n"
        "    raise SystemExit(body)\n"
    )
    run(sys.executable, "-c", code, cwd=tmp_path)
