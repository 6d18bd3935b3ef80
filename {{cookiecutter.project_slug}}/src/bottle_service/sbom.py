"""Print a software bill of materials of this environment: python -m bottle_service.sbom.

The format is CycloneDX 1.6 in JSON (https://cyclonedx.org/docs/1.6/json/), which scanners of
vulnerabilities and licenses read. The output is the same for equal environments.
"""

import json
import re
import sys
from importlib.metadata import Distribution, distributions
from typing import Any

__all__ = ["bill_of_materials"]


def bill_of_materials() -> dict[str, Any]:
    """Return the packages of this environment, by name and version."""
    python = {"type": "platform", "name": "python", "version": sys.version.split()[0]}
    components = {component["purl"]: component for component in map(_component, distributions())}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "components": [python, *(components[purl] for purl in sorted(components))],
    }


def _component(distribution: Distribution) -> dict[str, Any]:
    name = re.sub(r"[-_.]+", "-", distribution.name).lower()  # PEP 503
    component: dict[str, Any] = {
        "type": "library",
        "name": name,
        "version": distribution.version,
        "purl": f"pkg:pypi/{name}@{distribution.version}",
    }
    if "License-Expression" in distribution.metadata:
        expression = distribution.metadata["License-Expression"]
        component["licenses"] = [{"expression": expression}]
    return component


if __name__ == "__main__":
    print(json.dumps(bill_of_materials(), indent=2))
