"""Make a worker wait for two seconds when it has just been forked."""

import os
import time

os.register_at_fork(after_in_child=lambda: time.sleep(2))
