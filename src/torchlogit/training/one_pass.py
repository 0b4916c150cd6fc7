"""Training in one pass: each row is read once, predicted, then learned from; it is not stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from torchlogit.errors import InputError
from torchlogit.inference import Refusal
from torchlogit.losses import loss_for
from torchlogit.records import Monitor, Params
from torchlogit.streaming.loop import StreamBlock, StreamProgress, stream
from torchlogit.streaming.newton import MAX_PARAMETERS, StreamingNewton
from torchlogit.streaming.scale_free import ScaleFree
from torchlogit.streaming.stream import Answer, Start
from torchlogit.training.fitted import Fitted, StartingPoint
from torchlogit.training.l2_choice import number_or_choice
from torchlogit.training.rows import Array, LabelledRows, one_hot
from torchlogit.training.running_stream import RunningStream
from torchlogit.training.settings import OnePassSolver, Settings

NO_ERRORS = Refusal("one pass does not prove that the answer is near the optimum, so standard errors are not valid")


def train_one_pass(
    settings: Settings,
    blocks: Iterable[LabelledRows],
    n_features: int,
    classes: NDArray[Any],
    *,
    start: StartingPoint | None = None,
    monitors: Sequence[Monitor[StreamProgress]] = (),
) -> Fitted:
    """Learn from blocks of rows in order, until the last block, a monitor's request to stop, or Ctrl-C.

    The rows' codes are indices into `classes`. "balanced" class weights use the numbers of rows so far. start: if this
    model was learned in one pass, its stream continues, with the same result as one stream of all rows; of any other
    model, the coefficients are where learning begins. monitors: called after each block with a `StreamProgress`.
    """
    running = _running(settings, n_features, len(classes), start)
    weighted = (_weighted(settings, running, rows) for rows in blocks)
    answer = stream(weighted, running.stream, monitors=monitors)
    return _fitted(settings, running, answer, classes, start)


def train_further(settings: Settings, rows: LabelledRows, start: StartingPoint | None) -> Fitted:
    """Learn from one block of rows, as `train_one_pass` does, but raise KeyboardInterrupt for Ctrl-C."""
    running = _running(settings, rows.n_features, len(rows.classes), start)
    running.stream.learn(*_weighted(settings, running, rows))
    return _fitted(settings, running, running.stream.answer(), rows.classes, start)


def train_rows_once(settings: Settings, rows: LabelledRows) -> Fitted:
    """Learn from rows that are all in memory, with weights (class weights included), in order, each once."""
    n_classes = len(rows.classes)
    n_outputs = loss_for(n_classes).n_outputs
    running = _running(settings, rows.n_features, n_classes, None)
    offset, target = rows.offsets(n_outputs), rows.target(n_outputs)
    running.counts[:] += target.sum(axis=0) if n_classes > 2 else np.array([(1 - target).sum(), target.sum()])
    running.stream.learn(_on_cpu(rows.features), target, rows.weight, offset)
    return _fitted(settings, running, running.stream.answer(), rows.classes, None)


def _running(settings: Settings, n_features: int, n_classes: int, start: StartingPoint | None) -> RunningStream:
    """The stream of the starting point, or a new one."""
    if start is not None and start.stream is not None:
        return start.stream
    begin = None
    if start is not None:
        if start.weight is None:
            raise InputError("taken over from torch: the weight of the rows behind them is unknown; call fit first")
        begin = Start(Params(torch.tensor(start.coef), torch.tensor(start.intercept)), start.weight)
    if isinstance(settings.solver, OnePassSolver):
        solver = settings.solver
    else:
        solver = StreamingNewton() if (n_features + 1) * (n_classes - 1) <= MAX_PARAMETERS else ScaleFree()
    penalty = settings.penalty(n_features, _l2(settings, start))
    begun = solver.begin(n_features, n_classes, penalty, intercept=settings.fit_intercept, start=begin)
    return RunningStream(solver, begun, np.zeros(n_classes))


def _l2(settings: Settings, start: StartingPoint | None) -> float:
    """The l2 of the penalty: a given number, or if it is to be chosen, that of the starting point."""
    l2 = number_or_choice(settings.l2)
    if isinstance(l2, float):
        return l2
    if start is None or start.l2 is None:
        raise InputError("l2 cannot be chosen from rows that are read once: give l2 as a number, or call fit first")
    return start.l2


def _weighted(settings: Settings, running: RunningStream, rows: LabelledRows) -> StreamBlock:
    """The rows as a block for a stream, with class weights multiplied in; adds the rows to the counts of classes."""
    codes, classes = rows.targets.codes, rows.classes
    assert codes is not None
    weight = running.class_weights(settings.class_weight, classes, codes) * rows.weight
    return _on_cpu(rows.features), one_hot(codes, loss_for(len(classes)).n_outputs), weight


def _on_cpu(features: Any) -> Any:
    return features.cpu().numpy() if isinstance(features, torch.Tensor) else features


def _fitted(
    settings: Settings, running: RunningStream, answer: Answer, classes: NDArray[Any], start: StartingPoint | None
) -> Fitted:
    """The result for the rows so far; it also holds the stream, so that learning can continue."""
    coef: Array = answer.params.coef.numpy().copy()
    digest = hashlib.sha256()
    for name, array in sorted(running.stream.record().arrays.items()):
        digest.update(name.encode() + array.tobytes())
    weight = answer.progressive.weight
    return Fitted(
        coef=coef,
        intercept=answer.params.intercept.numpy().copy(),
        center=None,
        classes=classes,
        certificate=answer.certificate,
        history=(),
        passes=1.0,
        penalty=settings.penalty(len(coef), _l2(settings, start)),
        has_intercept=settings.fit_intercept,
        tol=settings.tol,
        solver=running.solver,
        rows={"rows": running.stream.rows, "weight": weight, "fingerprint": digest.hexdigest()},
        covariance=NO_ERRORS,
        stream=running,
        progressive=answer.progressive,
        expected_excess=answer.excess,
        stream_warning=answer.warning,
    )
