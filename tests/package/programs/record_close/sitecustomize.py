"""Record in the file CLOSED which processes close their application."""

import os

from bottle import Bottle


def close(_app: Bottle) -> None:
    with open(os.environ["CLOSED"], "a") as closed:
        print(os.getpid(), file=closed)


Bottle.close = close
