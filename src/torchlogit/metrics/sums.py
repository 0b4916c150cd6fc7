"""The metrics, and the sums over rows that they are computed from."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchlogit.losses import Loss
from torchlogit.metrics import ranking
from torchlogit.metrics.calibration import Reliability
from torchlogit.metrics.ranking import Ranking

Array = NDArray[np.float64]
MIN_BINS = 1 << 12  # the fewest bins of a class's ranking; many classes, which share MAX_BINS, would get fewer


@dataclass(frozen=True, slots=True)
class Metrics:
    """Metrics of predictions, weighted means over rows.

    Attributes
    ----------
    rows : int
        The number of rows.
    log_loss : float
        In nats.
    accuracy : float
        The share of rows whose class has the largest probability.
    auc : float or None
        The area under the ROC curve; for more than two classes the mean over the classes, each against the rest. None
        where a class has no rows.
    auc_error : float or None
        A bound on the error of auc, which is 0 up to ranking.MAX_BINS different scores.
    brier : float
        The mean squared error of the probability of the second class; for more than two classes, the sum over classes.
    calibration_error : float
        The expected calibration error with ten bins (calibration.py).
    """

    rows: int
    log_loss: float
    accuracy: float
    auc: float | None
    auc_error: float | None
    brier: float
    calibration_error: float

    def as_json(self) -> dict[str, float | int | None]:
        """The metrics by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class MetricSums:
    """Sums over some rows, in bounded memory; `+` adds those of several blocks.

    The last bits of a sum depend on the order of its additions: to get the same bits, the rows must be cut into the
    same blocks, which must be added in order.
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
        """The sums over rows with raw predictions (n, n_outputs), class codes 0, 1, ... (n,) and weights (n,).

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
        max_bins = max(ranking.MAX_BINS // loss.n_outputs, MIN_BINS)
        return cls(
            rows=n,
            weight=float(by_weight.sum()),
            loss=float(by_weight @ value),
            correct=float(by_weight @ (predicted == torch.from_numpy(codes)).to(torch.float64)),
            squared=float(by_weight @ residual.square().sum(dim=1)),
            rankings=tuple(
                Ranking.of(score, positive > 0, weights, max_bins)
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
            tuple(one + another for one, another in zip(self.rankings, other.rankings, strict=True)),
            self.reliability + other.reliability,
        )

    def result(self) -> Metrics:
        """The metrics of all these rows."""
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
        )


def targets(loss: Loss, codes: Tensor) -> Tensor:
    """Targets of 0 and 1, (n, n_outputs), float64, for class codes 0, 1, ... (n,)."""
    if loss.n_outputs == 1:
        return codes.to(torch.float64)[:, None]
    return torch.nn.functional.one_hot(codes.to(torch.int64), loss.n_outputs).to(torch.float64)


def _scores(loss: Loss, raw: Tensor) -> Array:
    """Scores by which rows are ranked, (n, n_outputs): the logit, or the log-odds of each class against the rest."""
    if loss.n_outputs == 1:
        return raw.numpy()
    top, likeliest = raw.max(dim=1, keepdim=True)
    e = torch.exp(raw - top)
    # For every class k but the likeliest, the sum of e minus e_k still holds the likeliest class's e^0 = 1, so that no
    # digits cancel. The likeliest class is computed separately below.
    rest = torch.log(e.sum(dim=1, keepdim=True) - e)
    others = raw.scatter(1, likeliest, -torch.inf)
    rest.scatter_(1, likeliest, torch.logsumexp(others, dim=1, keepdim=True) - top)
    return (raw - top - rest).numpy()
