def new_directory() -> str:
    """Make the directory in which the workers count together (telemetry/workers.py).

    In memory, where a full disk keeps no worker from starting and a slow one makes none wait.
    Memory is not cleared of what a killed server leaves until the host restarts, or systemd gave
    the service its own: whoever clears another place names it as TMPDIR.
    """
    memory = "/dev/shm"  # noqa: S108
    in_memory = not os.environ.get("TMPDIR") and os.access(memory, os.W_OK)
    prefix = f"{__package__}-metrics-"
    return tempfile.mkdtemp(prefix=prefix, dir=memory if in_memory else None)
