"""Make a Gunicorn worker wait for two seconds before it has its own signal handlers."""

import time

import gunicorn.util

gunicorn.util.seed = lambda: time.sleep(2)
