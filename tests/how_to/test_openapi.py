"""docs/how-to/openapi.md."""

import json

from ..support.fixtures import Generate
from .steps import check, follow


def test_api_is_documented_and_a_client_is_generated(copied: Generate) -> None:
    project = copied()
    follow(project, "openapi.md")
    document = json.loads((project / "openapi.json").read_text())
    operation = document["paths"]["/api/v1/reservations"]["post"]
    assert operation["description"] == "A room has one reservation at most."
    assert operation["responses"]["409"]["description"] == "The room is reserved already."
    client = project.parent / "my-service-client"
    assert "def sync(" in (client / "api" / "rooms" / "rooms_reserve.py").read_text()
    check(project)
