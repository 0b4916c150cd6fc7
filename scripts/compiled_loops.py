"""Removes compiled loops that are out of date but that numba would still use.

numba compiles a loop again if the loop's own file has changed, but not if only a file has changed whose loops it calls.
"""

from __future__ import annotations

import re
from pathlib import Path

KERNELS = Path(__file__).resolve().parents[1] / "src" / "torchlogit" / "kernels"


def drop_outdated() -> None:
    """Remove this checkout's compiled loops that are older than a file that they come from."""
    for path in KERNELS.glob("*_loops.py"):
        changed = max(file.stat().st_mtime for file in _sources(path))
        for compiled in (KERNELS / "__pycache__").glob(f"{path.stem}.*.nbi"):
            if compiled.stat().st_mtime < changed:
                compiled.unlink(missing_ok=True)


def _sources(path: Path) -> set[Path]:
    """This file of loops, and the files whose loops it calls, directly or indirectly."""
    names = re.findall(r"^from torchlogit\.kernels\.(\w+) import", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {path}.union(*(_sources(KERNELS / f"{name}.py") for name in names))
