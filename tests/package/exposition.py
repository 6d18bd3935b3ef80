"""Parser of metrics in the text format of Prometheus."""

import re

COUNT = "http_server_request_duration_seconds_count"


def samples(text: str, name: str, **labels: str) -> dict[str, float]:
    """Return the value of each sample with this name and these labels, by its whole line."""
    lines = [line for line in text.splitlines() if re.match(name + "[{ ]", line)]
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    chosen = [line for line in lines if all(label in line for label in wanted)]
    return {line: float(line.rsplit(" ", 1)[1]) for line in chosen}
