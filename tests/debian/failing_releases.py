"""A tree of the service whose releases fail as they are told: what install.sh is there for."""

from pathlib import Path

from .host import Host

TREE = "/srv/faulty"
FAULT = "etc/my-service/fault"
# It names how, and where: all other words are of the control group, command, TMPDIR and modules.
CODE = f"""

def create_app(settings: Settings, right=create_app) -> Bottle:
    import os, pathlib, re, signal, socket, sys, threading, time
    fault, *words = pathlib.Path("/{FAULT}").read_text().split()
    of_here = pathlib.Path("/proc/self/cgroup").read_text() + os.environ.get("TMPDIR", "")
    if not {{*re.split("[/\\\\s]", of_here), *sys.argv, *sys.modules}} >= set(words):
        return right(settings)
    app = right(settings)
    match fault:
        case "refuse":
            raise BootError([Problem("", "refuses", "this release")])
        case "hang" | "deaf":  # so that no TERM ends it
            if fault == "deaf":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
        case "crash":
            threading.Timer(1.5, os._exit, [1]).start()
        case "silence":  # it lives, and is not ready
            answer = app.wsgi
            def wait(environ, start_response):
                time.sleep(600 * (environ["PATH_INFO"] == "/readyz"))
                return answer(environ, start_response)
            vars(app)["wsgi"] = wait  # Bottle lets nobody set it twice
        case "request":
            def die(environ, start_response):
                os.write(2, b"dies of a request")
                os._exit(1)
            vars(app)["wsgi"] = die
        case "call":
            outcomes = []
            for name in ("collector.example", "10.89.0.1"):
                try:
                    socket.create_connection((name, 8000), timeout=5)
                    outcomes.append("answered")
                except OSError as error:
                    outcomes.append(error.strerror)
            where = "beside its trial" if os.path.exists("/run/my-service-trial.sock") else "alone"
            print("call:", "; ".join([*outcomes, where]), flush=True)
    return app
"""


def tell(host: Host, words: str) -> None:
    """Tell such releases how to fail, and where."""
    (host.machine.root / FAULT).write_text(words)


def lay_down(host: Host, ready: int = 15) -> Path:
    """Lay down what is committed, without Git; who installs it waits so many seconds for it."""
    host.typed(f"mkdir {TREE} && git archive HEAD | tar -x -C {TREE}")
    tree = host.machine.root / TREE[1:]
    with (tree / "src/my_service/app.py").open("a") as app:
        app.write(CODE)
    host.typed(f"sed -i s/^READY=15/READY={ready}/ {TREE}/deploy/install.sh")
    return tree
