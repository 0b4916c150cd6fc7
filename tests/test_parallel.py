"""Work on threads."""

from __future__ import annotations

import time

import pytest
import torch

from torchlogit.kernels import parallel


def test_an_interrupted_task_leaves_none_running() -> None:
    torch.set_num_threads(2)
    ended = []

    def task(index: int, part: slice) -> None:
        if index == 0:
            raise KeyboardInterrupt
        time.sleep(0.05)
        ended.append(index)

    with pytest.raises(KeyboardInterrupt):
        parallel.each(task, [slice(0, 1), slice(1, 2)])
    assert ended == [1]
