def notify(socket_name: str, state: str) -> None:
    """Tell systemd, as sd_notify(3) does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect(socket_name.replace("@", "\0", 1))
        channel.sendall(state.encode())


def answers(listener: socket.socket) -> bool:
    """Whether a worker answers a request on this listening socket."""
    try:
        with socket.socket(listener.family, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            client.connect(listener.getsockname())
            client.sendall(b"GET /livez HTTP/1.0\r\nUser-Agent: self-probe\r\n\r\n")
            return client.recv(12).endswith(b" 200")
    except OSError:
        return False


def announce(socket_name: str, listener: socket.socket) -> None:
    """Tell systemd that the service is ready once it answers, not when it merely started."""
    while not answers(listener):
        time.sleep(0.05)
    notify(socket_name, "READY=1")
