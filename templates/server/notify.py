def notify(socket_name: str, state: str) -> None:
    """Tell systemd, as sd_notify(3) does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect(re.sub("^@", "\0", socket_name))
        channel.sendall(state.encode())


# <% if cookiecutter.wsgi_server != "uwsgi" %>
_PROBE = b"GET /livez HTTP/1.0\r\nUser-Agent: self-probe\r\n\r\n"


# <% endif %>
def answers(family: int, address: str | tuple[str, int], seconds: float) -> bool:
    """Whether a worker that listens there answers a request within that time."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(seconds)
            client.connect(address)
            client.sendall(_PROBE)
            return client.recv(12).endswith(b" 200")
    except OSError:
        return False


def announce(
    socket_name: str,
    family: int,
    address: str | tuple[str, int],
    serving: Callable[[], object],
) -> None:
    """Tell systemd that the service is ready once it answers, and its watchdog that it still does.

    Questions do not wait for each other: a busy service answers late, only a hung one never. None
    is asked once it is not `serving`: the socket would start it again, to have that one answered.
    """
    watchdog = float(os.environ.get("WATCHDOG_USEC", "0")) / 1e6

    def ask() -> None:
        if answers(family, address, watchdog):
            notify(socket_name, "WATCHDOG=1")

    while not answers(family, address, 5):
        time.sleep(0.05)
    notify(socket_name, "READY=1")
    while watchdog and serving():
        threading.Thread(target=ask, daemon=True).start()
        time.sleep(watchdog / 4)
