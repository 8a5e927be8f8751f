"""These tests compare with torchvision and run in an environment of their own: `make parity`."""

import sys
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "plugins"))

collect_ignore_glob: list[str] = []
if find_spec("torchvision") is None:
    collect_ignore_glob.append("test_*.py")
