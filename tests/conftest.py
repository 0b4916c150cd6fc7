"""Settings for every test: slow ones only when asked for, hypothesis without a clock."""

from __future__ import annotations

import gc

import pytest
import torch
from hypothesis import settings

from profiles import PROFILES
from scripts.compiled_loops import drop_outdated

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
    """Before the workers start: loops that are out of date would be tested as they were."""
    if not hasattr(config, "workerinput"):
        drop_outdated()


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
