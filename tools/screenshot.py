"""Draw docs/first-run.svg: `make demo` and two requests, as terminals show them: `make screenshot`.

Token, times and IDs are replaced by constants, because they differ between runs. The server's lines
at startup are left out, because their order varies.
"""

import re
import tempfile
import textwrap
from html import escape
from pathlib import Path

from tests.support.process import free_port
from tests.support.terminal import Terminal

ROOT = Path(__file__).parents[1]
SCREENSHOT = ROOT / "docs" / "first-run.svg"

SAME = {
    r"^\S+ (INFO    gunicorn|ACCESS  GET /livez).*\n": "",
    r"(?<=dev': |earer )[0-9a-f]{32}": "5f1d…04b9",
    r"127\.0\.0\.1:\d+": "127.0.0.1:8000",
    r"\d\d:\d\d:\d\d(?= ACCESS)": "09:41:07",
    r"[\d.]+ ms": "1.3 ms",
    r"\d{4}-\d\d-\d\dT[\d:.]+Z": "2026-11-22T09:41:07.128904Z",
    r'(?<="version":")[0-9a-f]{16}': "7c2d94f1a86b03e5",
    r"\b[0-9a-f]{32}\b": "5f1d0c47a3be4b6f9c1e2d8a7b604f35",
}
SHADES = {
    "quiet": r"^#.*|^setting up.*|^\d\d:\S+",
    "typed": r"^\$ \w+( demo)?",
    "link": r"https?://[\w.:/]+",
    "token": r"5f1d…04b9",
    "good": r"\b201\b",
    "bad": r"\b422\b",
    "name": r'"\w+"(?=:)',
}
SHADE = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in SHADES.items()))

COLUMNS, COLUMN, LINE, MARGIN = 100, 8.43, 20, 24
SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" xml:space="preserve">
<title>make demo, and two calls of the service</title>
<style>
text {{ font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
       fill: #c9d1d9 }}
.typed {{ fill: #fff; font-weight: bold }}
.quiet {{ fill: #8b949e }}
.link {{ fill: #79c0ff }}
.token {{ fill: #d2a8ff }}
.good {{ fill: #7ee787 }}
.bad {{ fill: #ffa198 }}
.name {{ fill: #a5d6ff }}
</style>
<rect width="{width}" height="{height}" rx="10" fill="#0d1117"/>
<circle cx="26" cy="22" r="6" fill="#ff5f57"/>
<circle cx="46" cy="22" r="6" fill="#febc2e"/>
<circle cx="66" cy="22" r="6" fill="#28c840"/>
{rows}
</svg>
"""


def record() -> str:
    """Record the first run on two terminals. Raises AssertionError if it fails."""
    here = f"127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory() as build:
        # This program runs in .venv, so make must not rebuild it.
        make = ["make", "-o", ".venv/ready", f"BUILD={build}"]
        # As if it were not `make screenshot` that runs this.
        demo = Terminal(*make, "demo", cwd=ROOT, BIND=here, MAKEFLAGS="", MAKELEVEL="0")
        try:
            demo.read_until("Press Ctrl-C to stop.\n", 240)
            (call,) = re.findall(r"^  (curl .*\n.*)$", demo.text, re.MULTILINE)
            calls = ["# in another terminal"]
            for command in (call, call.replace("Hello", "")):
                curl = Terminal("sh", "-c", command, cwd=ROOT)
                curl.end()
                calls.append(f"$ {command}\n{curl.text}\n")
            demo.read_until(" 422 ", 10)
            demo.read_until("\n", 10)
            shown = demo.text
        finally:
            demo.interrupt()
    text = "\n".join(["$ make demo", shown, *calls])
    for pattern, same in SAME.items():
        text = re.sub(pattern, same, text, flags=re.MULTILINE)
    return text.strip()


def draw(text: str) -> str:
    """Draw the text as SVG, wrapped and coloured."""
    wrap = textwrap.TextWrapper(COLUMNS, break_on_hyphens=False, drop_whitespace=False)
    lines = [row for line in text.splitlines() for row in wrap.wrap(line) or [""]]
    rows = [
        f'<text x="{MARGIN}" y="{number * LINE + 64}">{shaded(line)}</text>'
        for number, line in enumerate(lines)
        if line
    ]
    width, height = round(COLUMNS * COLUMN) + 2 * MARGIN, len(lines) * LINE + 64
    return SVG.format(width=width, height=height, rows="\n".join(rows))


def shaded(line: str) -> str:
    done, end = "", 0
    for found in SHADE.finditer(line):
        done += escape(line[end : found.start()], quote=False)
        done += f'<tspan class="{found.lastgroup}">{escape(found[0], quote=False)}</tspan>'
        end = found.end()
    return done + escape(line[end:], quote=False)


if __name__ == "__main__":
    SCREENSHOT.write_text(draw(record()))
