"""Run a command with the socket of this number as systemd passes it (sd_listen_fds(3))."""

import os
import sys

number, *command = sys.argv[1:]
os.dup2(int(number), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(command[0], command)  # noqa: S606
