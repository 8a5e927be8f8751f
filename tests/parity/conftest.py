"""These tests compare with torchvision and run in an environment of their own: `make parity`."""

from importlib.util import find_spec

collect_ignore_glob: list[str] = []
if find_spec("torchvision") is None:
    collect_ignore_glob.append("test_*.py")
