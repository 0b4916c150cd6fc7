"""The sums of rows that every metric follows from, and the metrics."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchlogit.losses import Loss
from torchlogit.metrics import ranking
from torchlogit.metrics.calibration import Reliability
from torchlogit.metrics.ranking import Ranking

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metrics:
    """What people read: means over rows by weight.

    log_loss in nats. accuracy of the likeliest class. auc: area under the ROC curve; with more than two classes the
    mean over them of each against the rest; None where a class is absent. auc_error: by how much at most auc may
    differ from the area that all scores, sorted, would give; 0 up to ranking.MOST different scores. brier: mean
    squared error of the probability (two classes), or of all probabilities, summed over classes. calibration_error:
    the expected calibration error by ten bins of probability (calibration.py), whose sums are `reliability`.
    """

    rows: int
    log_loss: float
    accuracy: float
    auc: float | None
    auc_error: float | None
    brier: float
    calibration_error: float
    reliability: Reliability | None = field(default=None, repr=False, compare=False)

    def as_json(self) -> dict[str, float | int | None]:
        """The metrics by name."""
        return {
            "rows": self.rows,
            "log_loss": self.log_loss,
            "accuracy": self.accuracy,
            "auc": self.auc,
            "auc_error": self.auc_error,
            "brier": self.brier,
            "calibration_error": self.calibration_error,
        }


@dataclass(frozen=True, slots=True)
class MetricSums:
    """The sums of some rows, in memory that does not grow with them; `+` merges them.

    The bits of a sum depend on what was added to what: whoever wants the same bits again cuts the rows at the same
    places, counted from the first row, and adds the parts in order.
    """

    rows: int
    weight: float
    loss: float
    correct: float
    squared: float
    rankings: tuple[Ranking, ...]
    reliability: Reliability

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
        value, residual = loss.evaluate(raw, target)
        predicted = (raw[:, 0] > 0).long() if loss.n_outputs == 1 else raw.argmax(dim=1)
        truth = target.numpy()
        most = max(ranking.MOST // loss.n_outputs, 1 << 12)
        return cls(
            rows=n,
            weight=float(by_weight.sum()),
            loss=float(by_weight @ value),
            correct=float(by_weight @ (predicted == torch.from_numpy(codes)).to(torch.float64)),
            squared=float(by_weight @ residual.square().sum(dim=1)),
            rankings=tuple(
                Ranking.of(score, positive > 0, weights, most)
                for score, positive in zip(_scores(loss, raw).T, truth.T, strict=True)
            ),
            reliability=Reliability.of((target + residual).clamp_(0, 1).numpy(), truth, weights),
        )

    def __add__(self, other: MetricSums) -> MetricSums:
        return MetricSums(
            self.rows + other.rows,
            self.weight + other.weight,
            self.loss + other.loss,
            self.correct + other.correct,
            self.squared + other.squared,
            tuple(mine + its for mine, its in zip(self.rankings, other.rankings, strict=True)),
            self.reliability + other.reliability,
        )

    def result(self) -> Metrics:
        """The metrics of all rows summed."""
        areas = [ranking.area() for ranking in self.rankings]
        known = [area for area in areas if area is not None]
        auc, auc_error = np.mean(known, axis=0).tolist() if len(known) == len(areas) else (None, None)
        return Metrics(
            rows=self.rows,
            log_loss=self.loss / self.weight,
            accuracy=self.correct / self.weight,
            auc=auc,
            auc_error=auc_error,
            brier=self.squared / self.weight,
            calibration_error=self.reliability.error(),
            reliability=self.reliability,
        )


def targets(loss: Loss, codes: Tensor) -> Tensor:
    """The target probabilities of these classes, (n, n_outputs), float64: 0 and 1."""
    if loss.n_outputs == 1:
        return codes.to(torch.float64)[:, None]
    return torch.nn.functional.one_hot(codes.to(torch.int64), loss.n_outputs).to(torch.float64)


def _scores(loss: Loss, raw: Tensor) -> Array:
    """What ranks the rows for each class: the logit, or the log-odds of each class against the rest."""
    if loss.n_outputs == 1:
        return raw.numpy()
    top, likeliest = raw.max(dim=1, keepdim=True)
    e = torch.exp(raw - top)
    # Less its own, each but the likeliest keeps the likeliest's e^0 = 1, and nothing cancels.
    rest = torch.log(e.sum(dim=1, keepdim=True) - e)
    others = raw.scatter(1, likeliest, -torch.inf)
    rest.scatter_(1, likeliest, torch.logsumexp(others, dim=1, keepdim=True) - top)
    return (raw - top - rest).numpy()
