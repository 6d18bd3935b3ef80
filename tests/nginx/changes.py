"""Changes of the generated Nginx files: replacements that the comments in these files describe."""

import re
from pathlib import Path

from ..support.http_client import DOMAIN

SNIPPETS = "/etc/nginx/snippets/my-service"
SITE = f"    location / {{\n        include {SNIPPETS}-proxy.conf;\n"
OTHER_DOMAIN = "other.example.com"


def enable_cache(project: Path) -> dict[str, str]:
    """Enable the cache as its snippet's comment says, and add a second name of the site."""
    snippet = (project / "deploy/nginx/my-service-cache.conf").read_text()
    (zone,) = re.findall(r"^#     (\w+_cache_path .*)$", snippet, re.MULTILINE)
    return {
        f"server_name {DOMAIN};": f"server_name {DOMAIN} {OTHER_DOMAIN};",
        "upstream my_service {\n": f"{zone}\nupstream my_service {{\n",
        SITE: f"{SITE}        include {SNIPPETS}-cache.conf;\n",
    }
