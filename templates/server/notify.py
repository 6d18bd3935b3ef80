def notify(socket_name: str, state: str) -> None:
    """Tell systemd, as sd_notify(3) does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect(socket_name.replace("@", "\0", 1))
        channel.sendall(state.encode())


def answers(listener: socket.socket, seconds: float) -> bool:
    """Whether a worker answers a request on this listening socket within that time."""
    try:
        with socket.socket(listener.family, socket.SOCK_STREAM) as client:
            client.settimeout(seconds)
            client.connect(listener.getsockname())
            client.sendall(b"GET /livez HTTP/1.0\r\nUser-Agent: self-probe\r\n\r\n")
            return client.recv(12).endswith(b" 200")
    except OSError:
        return False


def announce(socket_name: str, listener: socket.socket) -> None:
    """Tell systemd that the service is ready once it answers, and its watchdog that it still does.

    Questions do not wait for each other: a busy service answers late, only a hung one never.
    """
    watchdog = float(os.environ.get("WATCHDOG_USEC", "0")) / 1e6

    def ask() -> None:
        if answers(listener, watchdog):
            notify(socket_name, "WATCHDOG=1")

    while not answers(listener, 5):
        time.sleep(0.05)
    notify(socket_name, "READY=1")
    while watchdog:
        threading.Thread(target=ask, daemon=True).start()
        time.sleep(watchdog / 4)
