"""Make a worker take a second longer to load its application, and then write the file LOADED."""

import os
import sys
import time
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType


class SlowLoad(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if fullname == "sample.wsgi":
            time.sleep(1)
            Path(os.environ["LOADED"]).touch()


sys.meta_path.insert(0, SlowLoad())
