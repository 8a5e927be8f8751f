"""When, where and with which versions the figures of a report were made."""

from __future__ import annotations

import platform
from datetime import datetime, timezone
from importlib import metadata
from typing import Any


def made(*packages: str) -> dict[str, Any]:
    """For a report's JSON: `date` (UTC), `platform` and `versions`, of Python too."""
    versions = {name: version(name) or "not installed" for name in packages}
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "platform": platform.platform(),
        "versions": versions | {"python": platform.python_version()},
    }


def version(package: str) -> str | None:
    """Of an installed distribution; None if it is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
