"""Generated requests to an application in this process, held against its OpenAPI document.

    PYTHONPATH=PROJECT/src python -m tests.api_contract.cases APPLICATION COUNT SEED [BELOW]

APPLICATION is `service`, or `every_kind` for the routes of tests/support/every_kind.py. COUNT is the largest
number of requests for an operation in one phase. The program prints the number of requests and the failures as
JSON, and exits with 1 if there are any. BELOW is the beginning of the paths; by default all are called.
The variable SITE is the URL of a started service on this host, to send the requests there, and CERTIFICATE
the file of its certificate.

It runs in an environment with schemathesis: see requirements.txt.
"""

import json
import logging
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import schemathesis
from bottle import Bottle
from my_service.app import SERVICE
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema
from schemathesis.engine.context import EngineContext
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished
from webtest import TestApp

from bottle_service.application import build_application
from bottle_service.openapi.document import Operation
from bottle_service.openapi.examples import example_of

from ..support import every_kind
from ..support.http_client import DOMAIN

# schemathesis 4.32.5 passes the arguments for sockets to Werkzeug, too, which does not know them.
transport_arguments = EngineContext.get_transport_kwargs
EngineContext.get_transport_kwargs = lambda *arguments, **named: {
    name: value
    for name, value in transport_arguments(*arguments, **named).items()
    if name in ("app", "headers")
}


# Checks that do not apply to some operations.
EXCEPTIONS: dict[str, Callable[[Operation], bool]] = {
    # HTML sends texts, so 1 is a text, too; msgspec reads further texts as a duration, such as 90.
    "negative_data_rejection": lambda one: one.is_form or "Search" in f"{one.types.get('query')}",
    # Werkzeug's encoder omits a line break behind an empty file.
    "positive_data_acceptance": lambda one: one.is_form,
    # A route for any method accepts TRACE and unknown ones, too.
    "unsupported_method": lambda one: one.route.method == "ANY",
}


@schemathesis.hook
def filter_query(_context: Any, query: Any) -> bool:
    """Leave out empty values, which count as absent and so are valid."""
    return all(value not in ("", None, [], {}) for value in (query or {}).values())


@schemathesis.hook
def map_body(_context: Any, body: Any) -> Any:
    """Write whole numbers without a fraction: msgspec takes 1.0 for no integer, unlike JSON Schema."""
    if isinstance(body, float) and body.is_integer():
        return int(body)
    if isinstance(body, list):
        return [map_body(_context, one) for one in body]
    if isinstance(body, dict):
        return {name: map_body(_context, one) for name, one in body.items()}
    return body


@schemathesis.hook
def before_call(_context: Any, case: Any, _arguments: Any) -> None:
    """Send a version and a key that fit, which no schema can describe, in valid requests."""
    if case.meta and case.meta.generation.mode.is_positive:
        for name, fitting in {"If-Match": "*", "Idempotency-Key": f'"{uuid4()}"'}.items():
            if name in (case.headers or {}):
                case.headers[name] = fitting


TOKEN, ADMIN_TOKEN = "t" * 40, "a" * 40


def make_app(name: str) -> Bottle:
    """Return the service, or an application with every kind of route."""
    environ = {"APP_ENV": "test", "API_TOKENS": f"tester:{TOKEN}", "ADMIN_TOKEN": ADMIN_TOKEN}
    environ["DATABASE_URL"] = os.environ.get("DATABASE_URL", "")
    settings = SERVICE.settings.load(environ)
    if name == "every_kind":
        return build_application(
            name, SERVICE.directory, settings, every_kind.add_routes,
            variables={"service": "Every kind", "description": "Routes of the tests"},
            dependencies=every_kind.DEPENDENCIES,
        )  # fmt: skip
    if SERVICE.has_database:
        with closing(SERVICE.open_database(settings)) as database:
            database.migrate()
    return SERVICE.create_app(settings)


def generated_failures(app: Bottle, count: int, seed: int, below: str) -> Iterator[str | int]:
    """Yield the failures of all checks of schemathesis, and the number of requests of each scenario."""
    operations: list[dict[str, Any]] = []
    for operation in app.dependencies["openapi"].operations:
        own: dict[str, Any] = {"include-name": f"{operation.method} {operation.path}"}
        disabled = [name for name, applies in EXCEPTIONS.items() if applies(operation)]
        if "admin" in operation.schemes:
            own["headers"] = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        own["enabled"] = operation.path.startswith(below)
        operations.append({**own, "checks": {name: {"enabled": False} for name in disabled}})
    if "SITE" in os.environ:  # routes of the tests, and one that Nginx hides
        operations.append({"include-path-regex": "^/(contract/|metrics$)", "enabled": False})
    config = SchemathesisConfig.from_dict(
        {
            "tls-verify": os.environ.get("CERTIFICATE", True),
            "seed": seed,
            "continue-on-failure": True,
            "headers": {"Authorization": f"Bearer {TOKEN}"},
            "generation": {
                "max-examples": count,
                "no-shrink": True,
                "allow-x00": True,
                "database": "none",
            },
            # 428: If-Match is missing.
            "checks": {"missing_required_header": {"expected-statuses": [400, 401, 422, 428]}},
            "operations": operations,
        }
    )
    if site := os.environ.get("SITE"):
        schema = schemathesis.openapi.from_url(f"{site}/openapi.json", config=config)
    else:
        schema = schemathesis.openapi.from_wsgi("/openapi.json", app.wsgi, config=config)
    for event in from_schema(schema).execute():
        if isinstance(event, FatalError):
            raise event.exception
        if isinstance(event, NonFatalError):
            yield f"{event.label}: {event.value!r}"
        if isinstance(event, ScenarioFinished):
            yield len(event.recorder.cases)
            for case, checks in event.recorder.checks.items():
                response = event.recorder.interactions[case].response
                for check in checks:
                    if info := check.failure_info:
                        text = response.text[:400] if response else ""
                        yield f"{event.recorder.label}: {check.name}: {info.failure}\n{info.code_sample}\n{text}"


resolve = socket.getaddrinfo


def resolve_site(host: Any, *arguments: Any, **named: Any) -> Any:
    """Resolve the name of the site to this host."""
    return resolve("127.0.0.1" if host == DOMAIN else host, *arguments, **named)


def own_failures(app: Bottle) -> Iterator[str | int]:
    """Yield failures that generated requests rarely find: NUL in a text, and a resource after its end."""
    client = TestApp(app)
    client.authorization = ("Bearer", TOKEN)
    operations = {
        (one.method, one.path): example_of(one.body)
        for one in app.dependencies["openapi"].operations
        if one.body is not None and not one.is_form
    }
    for (method, path), example in operations.items():
        if not isinstance(example, dict):
            continue
        address = re.sub(r"{\w+}", "1", path)
        for name, value in example.items():
            if isinstance(value, str):
                body = json.dumps({**example, name: f"{value[:1]}\0"})
                kind = {"Content-Type": "application/json", "If-Match": "*"}
                response = client.request(
                    address, method=method, body=body.encode(), headers=kind, status="*"
                )
                yield 1
                if response.status_int != 422:
                    yield f"{method} {path}: NUL in {name} is {response.status_int}"
        created = client.post_json(address, example, status="*") if method == "POST" else None
        location = created.headers.get("Location") if created else None
        if location and client.get(location, status="*").status_int != 200:
            yield f"POST of {location}: ensure_resource_availability"
        any_version = {"If-Match": "*"}
        if location and client.delete(location, headers=any_version, status="*").status_int == 204:
            yield 3
            if client.get(location, status="*").status_int != 404:
                yield f"DELETE of {location}: use_after_free"


def main(name: str, count: int, seed: int, below: str = "/") -> None:
    logging.disable()
    app = make_app(name)
    OpenAPIV31SpecValidator(app.dependencies["openapi"].content()).validate()
    socket.getaddrinfo = resolve_site
    found = [*generated_failures(app, count, seed, below)]
    if "SITE" not in os.environ:
        found += own_failures(app)
    failures = sorted({one for one in found if isinstance(one, str)})
    print(
        json.dumps(
            {"requests": sum(one for one in found if isinstance(one, int)), "failures": failures}
        )
    )
    sys.exit(bool(failures))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
