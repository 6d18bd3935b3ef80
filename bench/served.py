"""Measure the cost of a request, a start and the memory of servers, as two tables: `make bench`.

All servers run at once and are measured in turn in each round, so a shared machine slows all of
them down alike: the ratios are medians of the rounds' ratios. With two processors or more the
server has one and the load another. The load is wrk's, or without wrk that of load.py: 32 kept
connections on loopback, for one second. Processor time is that of all of a server's processes.
The services write their access lines to /dev/null.
"""

import os
import re
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

TEMPLATE = Path(__file__).parents[1]
sys.path.insert(0, str(TEMPLATE))

from tests.support.generate import generate  # noqa: E402
from tests.support.process import free_port  # noqa: E402

APPS = TEMPLATE / "bench/apps"
FASTAPI = TEMPLATE / "build/fastapi"
HOST, THREADS = "127.0.0.1", 4
ROUNDS, STARTS, CONNECTIONS, SECONDS = 9, 7, 32, 1.0
ADD_ROUTES = "def add_routes(app: Bottle) -> None:\n"
ONE_MORE = '    app.route("/thing", "GET", thing.show, public=True)\n'


class Server(NamedTuple):
    """A command that serves at PORT, with these variables in its environment."""

    command: list[str]
    environ: dict[str, str]
    port: int


def python(*arguments: str, port: int, **environ: str) -> Server:
    return Server([sys.executable, *arguments], environ, port)


def plain_on_gunicorn() -> Server:
    """Return plain Bottle with what gunicorn.conf.py sets and a request's cost depends on."""
    port = free_port()
    options = ["--worker-class", "gthread", "--threads", str(THREADS), "--keep-alive", "75"]
    if os.path.isdir("/dev/shm"):  # noqa: S108
        options += ["--worker-tmp-dir", "/dev/shm"]  # noqa: S108
    options += ["--no-control-socket", "--chdir", str(APPS), "--bind", f"{HOST}:{port}"]
    return python("-m", "gunicorn", *options, "plain_bottle:app", port=port)


def plain_on_waitress() -> Server:
    port = free_port()
    options = ["--threads", str(THREADS), "--listen", f"{HOST}:{port}"]
    return python("-m", "waitress", *options, "plain_bottle:app", port=port, PYTHONPATH=str(APPS))


def generated(project: Path, database: Path) -> Server:
    port = free_port()
    environ = {
        "PYTHONPATH": str(project / "src"),
        "API_TOKENS": f"bench:{secrets.token_hex(32)}",
        "DATABASE_URL": f"sqlite:///{database}",
        "BIND": f"{HOST}:{port}",
        "WEB_CONCURRENCY": "1",
        "WEB_THREADS": str(THREADS),
    }
    service = python("-m", "my_service", "serve", port=port, **environ)
    migrate = [*service.command[:-1], "migrate"]
    subprocess.run(migrate, env=full(service), check=True, stderr=subprocess.DEVNULL)
    return service


def fastapi(database: Path) -> Server:
    port = free_port()
    options = ["--app-dir", str(APPS), "--no-access-log", "--host", HOST, "--port", str(port)]
    command = [str(FASTAPI / "bin/python"), "-m", "uvicorn", *options, "fastapi_service:app"]
    return Server(command, {"DATABASE_URL": f"sqlite:///{database}"}, port)


def install_fastapi() -> None:
    """Make an environment for the FastAPI service, unless build/ has one of these versions."""
    wanted = APPS / "fastapi.txt"
    installed = FASTAPI / "installed.txt"
    if installed.exists() and installed.read_text() == wanted.read_text():
        return
    uv, place = str(Path(sys.executable).with_name("uv")), str(FASTAPI)
    subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, place], check=True)
    install = [uv, "pip", "install", "-q", "--only-binary", ":all:", "--python", place]
    subprocess.run([*install, "-r", str(wanted)], check=True)
    shutil.copy(wanted, installed)


def with_one_more_route(project: Path) -> Path:
    """Add the route of plain Bottle to a generated service."""
    routes = project / "src/my_service/routes"
    shutil.copy(APPS / "plain_bottle.py", routes / "thing.py")
    table = routes / "__init__.py"
    text = table.read_text()
    if ADD_ROUTES not in text:
        raise LookupError(f"{table} has no {ADD_ROUTES!r}")
    table.write_text(text.replace(ADD_ROUTES, f"{ADD_ROUTES}    from . import thing\n\n{ONE_MORE}"))
    return project


def full(server: Server) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], **server.environ}


@contextmanager
def started(server: Server, processors: set[int]) -> Iterator[int]:
    """Start the server on these processors, and stop it at the end. Gives its process ID."""
    process = subprocess.Popen(
        server.command, env=full(server), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.sched_setaffinity(process.pid, processors)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def wait_for_200(server: Server) -> None:
    ends = time.monotonic() + 30
    while time.monotonic() < ends:
        try:
            with socket.create_connection((HOST, server.port)) as client:
                client.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
                if client.recv(12).endswith((b" 200", b" 404")):  # plain Bottle has no /livez
                    return
        except OSError:
            pass
        time.sleep(0.003)
    raise TimeoutError(f"no response within 30 s: {server.command}")


def processes(pid: int) -> list[int]:
    """Return this process and all below it (proc(5))."""
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(process for child in below for process in processes(int(child)))]


def processor_seconds(pid: int) -> float:
    ticks = 0
    for process in processes(pid):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def proportional_set_size(pid: int) -> float:
    """Return MiB of memory, of which each shared page counts once."""
    total = 0
    for process in processes(pid):
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        total += int(re.findall(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)[0])
    return total / 1024


def responses(server: Server, processors: set[int]) -> int:
    """Return how many responses the server gives to the load. Raises ValueError for other than 200."""
    if wrk := shutil.which("wrk"):
        url = f"http://{HOST}:{server.port}/thing"
        command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS:.0f}s", url]
    else:
        load = [str(CONNECTIONS), str(SECONDS), HOST, str(server.port), "/thing"]
        command = [sys.executable, str(TEMPLATE / "bench/load.py"), *load]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        os.sched_setaffinity(process.pid, processors)
        printed, _ = process.communicate()
    found = re.search(r"(\d+) requests in|^(\d+)$", printed, re.MULTILINE)
    if found is None or "Non-2xx" in printed:
        raise ValueError(f"{command} printed {printed}")
    return int(found[1] or found[2])


class Round(NamedTuple):
    per_second: float
    microseconds: float


def one_round(server: Server, pid: int, processors: set[int]) -> Round:
    before, begun = processor_seconds(pid), time.perf_counter()
    count = responses(server, processors)
    seconds, used = time.perf_counter() - begun, processor_seconds(pid) - before
    return Round(count / seconds, used / count * 1e6)


def serve(servers: dict[str, Server]) -> dict[str, list[Round]]:
    """Run all servers at once, and measure them in turn in each round."""
    available = sorted(os.sched_getaffinity(0))
    processors, others = {available[0]}, set(available[1:]) or {available[0]}
    with ExitStack() as stack:
        pids = {
            name: stack.enter_context(started(server, processors))
            for name, server in servers.items()
        }
        for server in servers.values():
            wait_for_200(server)
        rounds = [
            {name: one_round(server, pids[name], others) for name, server in servers.items()}
            for _ in range(ROUNDS + 1)
        ]
    return {name: [one[name] for one in rounds[1:]] for name in servers}


class Start(NamedTuple):
    seconds: float
    mebibytes: float


def one_start(server: Server) -> Start:
    begun = time.perf_counter()
    with started(server, os.sched_getaffinity(0)) as pid:
        wait_for_200(server)
        seconds = time.perf_counter() - begun
        return Start(seconds, proportional_set_size(pid))


def start(servers: dict[str, Server]) -> dict[str, list[Start]]:
    """Start and stop the servers in turn, in each round."""
    rounds = [
        {name: one_start(server) for name, server in servers.items()} for _ in range(STARTS + 1)
    ]
    return {name: [one[name] for one in rounds[1:]] for name in servers}


def main() -> None:
    if sys.platform != "linux":
        sys.exit("bench/served.py reads /proc: it needs Linux")
    install_fastapi()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        gunicorn, waitress = (
            generated(
                with_one_more_route(generate(directory / kind, {"wsgi_server": kind})),
                directory / f"{kind}.sqlite3",
            )
            for kind in ("gunicorn", "waitress")
        )
        other = fastapi(directory / "fastapi.sqlite3")
        served = serve(
            {
                "Gunicorn, plain Bottle": plain_on_gunicorn(),
                "Gunicorn, generated": gunicorn,
                "Waitress, plain Bottle": plain_on_waitress(),
                "Waitress, generated": waitress,
                "uvicorn, FastAPI with the same features": other,
            }
        )
        starts = start({"FastAPI": other, "Gunicorn": gunicorn, "Waitress": waitress})

    def median(name: str, figure: Callable[[Round], float]) -> float:
        return statistics.median(map(figure, served[name]))

    def ratio(name: str, figure: Callable[[Round], float]) -> float:
        """Return the figure against that of plain Bottle on the same server."""
        plain = name.partition(",")[0] + ", plain Bottle"
        pairs = zip(served[name], served.get(plain, served[name]), strict=True)
        return statistics.median(figure(one) / figure(base) for one, base in pairs)

    print("| 1 worker, 4 threads | requests/s | x plain | processor µs | x plain |")
    print("|---|---|---|---|---|")
    for name in served:
        cells = [f"{median(name, lambda one: one.per_second):.0f}", "", "", ""]
        cells[2] = f"{median(name, lambda one: one.microseconds):.0f}"
        if name.endswith("generated"):
            cells[1] = f"{ratio(name, lambda one: one.per_second):.2f}"
            cells[3] = f"{ratio(name, lambda one: one.microseconds):.2f}"
        print(f"| {name} | {' | '.join(cells)} |")
    print("\n| from `serve` to the first 200 | s | x FastAPI | memory (PSS), MiB | x FastAPI |")
    print("|---|---|---|---|---|")
    for name, found in starts.items():
        seconds, mebibytes = (statistics.median(one) for one in zip(*found, strict=True))
        pairs = list(zip(found, starts["FastAPI"], strict=True))
        quicker = statistics.median(one.seconds / base.seconds for one, base in pairs)
        smaller = statistics.median(one.mebibytes / base.mebibytes for one, base in pairs)
        print(f"| {name} | {seconds:.2f} | {quicker:.2f} | {mebibytes:.0f} | {smaller:.2f} |")


if __name__ == "__main__":
    main()
