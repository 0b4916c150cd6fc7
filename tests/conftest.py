"""Settings for every test: slow ones only when asked for, hypothesis without a clock."""

from __future__ import annotations

import gc
import re
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from places import ROOT
from profiles import PROFILES

for name, profile in PROFILES.items():
    settings.register_profile(name, profile)
settings.load_profile("torchlogit")
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tables have a few hundred rows: waking a second thread takes longer than the sums. A test may ask for more."""
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    """Drop compiled loops that call changed ones: numba compiles loops anew where their own file has changed only."""
    if hasattr(config, "workerinput"):
        return
    for path in (ROOT / "src" / "torchlogit" / "kernels").glob("*_loops.py"):
        changed = max(file.stat().st_mtime for file in _called_from(path))
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.nbi"):
            if compiled.stat().st_mtime < changed:
                compiled.unlink()


def _called_from(path: Path) -> set[Path]:
    """The files of compiled loops that this one imports, itself included."""
    names = re.findall(r"^from torchlogit\.kernels\.(\w+) import", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {path}.union(*(_called_from(path.with_name(f"{name}.py")) for name in names))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what is marked slow, unless -m mentions it."""
    if "slow" in config.getoption("markexpr"):
        return
    skip = pytest.mark.skip(reason="takes minutes: run with -m slow")
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(skip)


def pytest_collection_finish() -> None:
    """Leave what was collected out of every later garbage collection: half a million objects that stay to the end."""
    gc.freeze()
