"""stream: the one loop over rows that come by once. It has no proof to give, and says what a stream can say instead."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchlogit.errors import InputError
from torchlogit.records import Certificate, Monitor, Params, Status, StopReason
from torchlogit.streaming.progressive import Progressive
from torchlogit.streaming.stream import Answer, Stream

Array = NDArray[np.float64]
Block = tuple[Any, Array, Array | None]  # X (n, d) dense or CSR, target (n, outputs), weight (n,) or None


@dataclass(frozen=True, slots=True)
class StreamResult:
    """Where the stream is, and what can be said of it.

    certificate: `uncertifiable`, its objective the progressive log loss times the weight. excess: the log loss per unit
    of weight by which params are expected to miss the best linear model, in nats, or None; statistical, not proven.
    """

    params: Params
    certificate: Certificate
    progressive: Progressive
    excess: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class StreamProgress:
    """What a monitor of a stream is shown after each block: rows so far, seconds since the start, and the errors."""

    rows: int
    seconds: float
    progressive: Progressive


def stream(
    blocks: Iterable[Block], learner: Stream, *, monitors: Iterable[Monitor[StreamProgress]] = ()
) -> StreamResult:
    """What the learner has found once the blocks are through, each row predicted before it was learned from.

    A monitor is called after each block and ends the stream by returning True; Ctrl-C ends it too. The learner keeps
    its state: it can go on with more blocks, and how rows are cut into blocks changes nothing. InputError where there
    was no row.

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
                shown = StreamProgress(learner.rows, time.perf_counter() - began, learner.answer().progressive)
                asked = [monitor(shown) for monitor in monitors]
                if any(asked):
                    break
    except KeyboardInterrupt:
        if learner.rows == 0:
            raise
    answer = learner.answer()
    if answer.progressive.weight == 0:
        raise InputError("the stream held no row of positive weight: expected some of each class; check the source")
    seconds = time.perf_counter() - began
    return StreamResult(answer.params, statement(answer), answer.progressive, answer.excess, seconds)


def statement(answer: Answer) -> Certificate:
    """What a stream can say of its answer: its errors on rows it had not seen, and no bound."""
    seen = answer.progressive
    error = "" if seen.log_loss_error is None else f" +- {seen.log_loss_error:.2g}"
    words = f"log loss {seen.log_loss:.5g}{error} on {seen.rows:,} rows, each read once and predicted before that"
    if answer.excess is not None:
        words += (
            f"; expected to be about {answer.excess:.1e} nats a row above the best linear model, "
            "if the rows come in no particular order (statistical, not proven)"
        )
    return Certificate(Status.UNCERTIFIABLE, seen.log_loss * seen.weight, None, reason=StopReason(known=words))
