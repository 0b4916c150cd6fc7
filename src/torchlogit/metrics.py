"""Metrics of predictions: sums over rows, so that blocks and processes merge by addition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchlogit.losses import Loss

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metrics:
    """What people read: means over rows by weight.

    log_loss in nats. accuracy of the likeliest class. auc: area under the ROC curve; with more than two classes the
    mean over them of each against the rest; None where a class is absent. brier: mean squared error of the
    probability (two classes), or of all probabilities, summed over classes.
    """

    rows: int
    log_loss: float
    accuracy: float
    auc: float | None
    brier: float

    def as_json(self) -> dict[str, float | int | None]:
        """The metrics by name."""
        return {
            "rows": self.rows,
            "log_loss": self.log_loss,
            "accuracy": self.accuracy,
            "auc": self.auc,
            "brier": self.brier,
        }


@dataclass(frozen=True, slots=True)
class MetricSums:
    """The sums of some rows; `+` merges them. AUC has no finite sums: each part keeps its scores."""

    rows: int
    weight: float
    loss: float
    correct: float
    squared: float
    scores: tuple[Array, ...]
    codes: tuple[NDArray[np.int64], ...]
    weights: tuple[Array, ...]

    @classmethod
    def of(cls, loss: Loss, raw: Tensor, codes: NDArray[np.int64], weight: Array | None = None) -> MetricSums:
        """The sums of rows with these raw predictions (n, n_outputs) and classes (n,).

        >>> from torchlogit.losses import Logistic
        >>> raw = torch.tensor([[-1.0], [1.0], [2.0]], dtype=torch.float64)
        >>> MetricSums.of(Logistic(), raw, np.array([0, 1, 1])).result().auc
        1.0
        """
        n = len(codes)
        weights = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
        target = targets(loss, torch.from_numpy(codes))
        by_weight = torch.from_numpy(weights)
        residual = loss.residual(raw, target)
        predicted = (raw[:, 0] > 0).long() if loss.n_outputs == 1 else raw.argmax(dim=1)
        return cls(
            rows=n,
            weight=float(by_weight.sum()),
            loss=float(by_weight @ loss.value(raw, target)),
            correct=float(by_weight @ (predicted == torch.from_numpy(codes)).to(torch.float64)),
            squared=float(by_weight @ residual.square().sum(dim=1)),
            scores=(_scores(loss, raw),),
            codes=(codes,),
            weights=(weights,),
        )

    def __add__(self, other: MetricSums) -> MetricSums:
        return MetricSums(
            self.rows + other.rows,
            self.weight + other.weight,
            self.loss + other.loss,
            self.correct + other.correct,
            self.squared + other.squared,
            self.scores + other.scores,
            self.codes + other.codes,
            self.weights + other.weights,
        )

    def result(self) -> Metrics:
        """The metrics of all rows summed."""
        return Metrics(
            rows=self.rows,
            log_loss=self.loss / self.weight,
            accuracy=self.correct / self.weight,
            auc=self._auc(),
            brier=self.squared / self.weight,
        )

    def _auc(self) -> float | None:
        scores, weights = np.concatenate(self.scores), np.concatenate(self.weights)
        codes = np.concatenate(self.codes)
        if scores.shape[1] == 1:
            return area_under_curve(scores[:, 0], codes == 1, weights)
        areas = [area_under_curve(scores[:, k], codes == k, weights) for k in range(scores.shape[1])]
        known = [area for area in areas if area is not None]
        return float(np.mean(known)) if len(known) == len(areas) else None


def targets(loss: Loss, codes: Tensor) -> Tensor:
    """The target probabilities of these classes, (n, n_outputs), float64: 0 and 1."""
    if loss.n_outputs == 1:
        return codes.to(torch.float64)[:, None]
    return torch.nn.functional.one_hot(codes.to(torch.int64), loss.n_outputs).to(torch.float64)


def area_under_curve(score: Array, positive: NDArray[np.bool_], weight: Array) -> float | None:
    """The weighted share of (positive, negative) pairs whose scores are in order, ties one half; None without pairs.

    >>> area_under_curve(np.array([1.0, 2.0, 2.0]), np.array([False, False, True]), np.ones(3))
    0.75
    """
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])
    up = np.add.reduceat(np.where(positive, weight, 0.0)[order], starts)
    down = np.add.reduceat(np.where(positive, 0.0, weight)[order], starts)
    pairs = up.sum() * down.sum()
    if pairs <= 0:
        return None
    below = np.cumsum(down) - down
    return float((up * (below + down / 2)).sum() / pairs)


def _scores(loss: Loss, raw: Tensor) -> Array:
    """What ranks the rows for each class: the logit, or the log-odds of each class against the rest."""
    if loss.n_outputs == 1:
        return raw.numpy()
    rest = torch.stack(
        [torch.logsumexp(torch.cat([raw[:, :k], raw[:, k + 1 :]], dim=1), dim=1) for k in range(raw.shape[1])], dim=1
    )
    return (raw - rest).numpy()
