"""stream: the loop that learns from rows which are read once. It proves no bound; it reports losses on new rows."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchlogit.errors import InputError
from torchlogit.records import Monitor
from torchlogit.streaming.progressive import Progressive
from torchlogit.streaming.stream import Answer, Stream

Array = NDArray[np.float64]
StreamBlock = tuple[Any, Array, Array | None]  # X (n, d) dense or CSR, target (n, outputs), weight (n,) or None


@dataclass(frozen=True, slots=True)
class StreamProgress:
    """Passed to monitors after each block: rows so far, seconds since the start, and the progressive losses."""

    rows: int
    seconds: float
    progressive: Progressive


def stream(
    blocks: Iterable[StreamBlock], learner: Stream, *, monitors: Iterable[Monitor[StreamProgress]] = ()
) -> Answer:
    """Learn from all blocks in turn and return the model; each row is predicted before it is learned from.

    The learner itself changes, and can learn from more blocks later. How rows are cut into blocks changes no result.

    Parameters
    ----------
    blocks : iterable of (X, target, weight)
        X (n, d) dense or CSR, target (n, outputs) in [0, 1], weight (n,) or None.
    learner : Stream
        For example what `StreamingNewton().begin(...)` returns.
    monitors : iterable of callables
        Each is called with a `StreamProgress` after each block; the stream ends if one returns True. Ctrl-C ends it
        too.

    Raises
    ------
    InputError
        If there was no row of positive weight.

    Examples
    --------
    >>> from torchlogit.penalties import ElasticNet
    >>> from torchlogit.streaming.newton import StreamingNewton
    >>> learner = StreamingNewton().begin(1, 2, ElasticNet(l2=1.0))
    >>> rows = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[0.0], [1.0], [0.0], [1.0]]), None
    >>> stream([rows], learner).certificate.status
    <Status.UNCERTIFIABLE: 'uncertifiable'>
    """
    began, monitors = time.perf_counter(), tuple(monitors)
    try:
        for X, target, weight in blocks:
            learner.learn(X, target, weight)
            if monitors:
                progress = StreamProgress(learner.rows, time.perf_counter() - began, learner.answer().progressive)
                stop = [monitor(progress) for monitor in monitors]  # every monitor is called
                if any(stop):
                    break
    except KeyboardInterrupt:
        if learner.rows == 0:
            raise
    answer = learner.answer()
    if answer.progressive.weight == 0:
        raise InputError("the stream held no row of positive weight: expected some of each class; check the source")
    return answer
