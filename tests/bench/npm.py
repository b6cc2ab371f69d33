"""Peers that come from npm."""

import shutil
import subprocess
from pathlib import Path


def install(folder: Path) -> None:
    """Install what the package-lock.json of a folder names, unless it is there."""
    if shutil.which("npm") is None:
        raise RuntimeError("npm is not installed: the bench sets our figures beside those of a peer that needs it")
    installed, locked = folder / "node_modules" / ".package-lock.json", folder / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < locked.stat().st_mtime:
        subprocess.run(["npm", "ci", "--ignore-scripts", "--silent"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
