"""The figures of the README, as a Markdown table: `make bench`.

Times are medians on the machine at hand; they are for orientation and are never tested.
"""

import os
import re
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

TEMPLATE = Path(__file__).parents[1]
sys.path.insert(0, str(TEMPLATE))

from tests.support.generate import COMBINATIONS, generate  # noqa: E402
from tests.support.matrix import GROUPS  # noqa: E402
from tests.support.process import free_port  # noqa: E402


def median(action: Callable[[], float], times: int = 5) -> float:
    return statistics.median(action() for _ in range(times))


def timed(*command: str, cwd: Path) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def generation(directory: Path) -> float:
    target = tempfile.mkdtemp(dir=directory)
    cookiecutter = [sys.executable, "-m", "cookiecutter", "--no-input", "--default-config"]
    return timed(*cookiecutter, "--output-dir", target, str(TEMPLATE), cwd=directory)


def first_response(project: Path, directory: Path) -> float:
    """Return the seconds from `serve` to the first 200."""
    port = free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(project / "src"),
        "API_TOKENS": f"bench:{secrets.token_hex(32)}",
        "DATABASE_URL": f"sqlite:///{directory}/bench.sqlite3",
        "PORT": str(port),
    }
    command = [sys.executable, "-m", "my_service"]
    subprocess.run([*command, "migrate"], env=environ, check=True, stderr=subprocess.DEVNULL)
    started = time.perf_counter()
    server = subprocess.Popen([*command, "serve"], env=environ, stderr=subprocess.DEVNULL)
    try:
        while time.perf_counter() < started + 30:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez"):
                    return time.perf_counter() - started
            except OSError:
                time.sleep(0.01)
        raise TimeoutError("no response within 30 s")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


DOCUMENT = """
import time
from my_service.app import SERVICE
from my_service.settings import Settings
from bottle_service.openapi import OpenAPI

app = SERVICE.create_app(Settings.load({"APP_ENV": "test", "API_TOKENS": "bench:" + "b" * 40}))
openapi = OpenAPI({"service": "Bench"})
openapi.app = app
for work in (openapi.content, lambda: openapi._page):
    started = time.perf_counter()
    work()
    print(time.perf_counter() - started)
"""


def documented(project: Path) -> tuple[float, float]:
    """Return the seconds for the OpenAPI document and for its page."""
    done = subprocess.run(
        [sys.executable, "-c", DOCUMENT],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(project / "src")},
        cwd=project,
        check=True,
        capture_output=True,
        text=True,
    )
    document, page = map(float, done.stdout.split())
    return document, page


def lines_of(project: Path, pattern: str) -> int:
    return sum(
        bool(line.strip())
        for path in project.glob(pattern)
        for line in path.read_text().splitlines()
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        project = generate(directory / "gunicorn", {})
        waitress = generate(directory / "waitress", {"wsgi_server": "waitress"})
        for each in (project, waitress):
            subprocess.run([sys.executable, "-m", "compileall", "-q", each / "src"], check=True)
        suite = subprocess.run(
            [sys.executable, "-m", "pytest"],
            cwd=project,
            check=True,
            capture_output=True,
            text=True,
        )
        (cases,) = re.findall(r"^(\d+) passed", suite.stdout, re.MULTILINE)
        rows = [
            ("combinations of answers; of these with different code", f"{len(COMBINATIONS)}, {len(GROUPS)}"),
            ("generating a service", f"{median(lambda: generation(directory)):.1f} s"),
            (f"its test suite ({cases} cases)", f"{median(lambda: timed(sys.executable, '-m', 'pytest', cwd=project), 3):.1f} s"),
            ("from `serve` to the first 200, Gunicorn", f"{median(lambda: first_response(project, directory)):.1f} s"),
            ("from `serve` to the first 200, Waitress", f"{median(lambda: first_response(waitress, directory)):.1f} s"),
            ("making the OpenAPI document; its page", "{:.1f} ms; {:.1f} ms".format(*(1000 * s for s in documented(project)))),
            ("lines of Python in the service; of these in your package", f"{lines_of(project, 'src/**/*.py')}, {lines_of(project, 'src/my_service/**/*.py')}"),
        ]  # fmt: skip
    print("| measurement | figure |\n|---|---|")
    for measurement, figure in rows:
        print(f"| {measurement} | {figure} |")


if __name__ == "__main__":
    main()
