"""Kill uWSGI's master when a worker is about to watch it."""

import os
import signal
import sys
import time
from types import FrameType
from typing import Any


def kill_master(frame: FrameType, event: str, _argument: Any) -> None:
    if event == "call" and frame.f_code.co_name == "prepare_worker":
        sys.setprofile(None)
        master = os.getppid()
        os.kill(master, signal.SIGKILL)
        while os.getppid() == master:
            time.sleep(0.01)


sys.setprofile(kill_master)
