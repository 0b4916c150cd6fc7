"""Progressive validation: the losses of a stream's predictions of rows that it had not learned from yet, in sums."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEVELS = 48  # batch lengths are 2^0, ..., 2^47 calls of `add`: more than any stream has
MIN_BATCHES = 16  # batches of one length needed for a standard error; more: steadier errors, later
WINDOW = 1 << 14  # rows after which a loss counts 1/e in the recent log loss; larger: steadier, slower to follow
BINS, BINS_PER_UNIT = 1024, 32  # of the log-odds, for the AUC: from -16 to 16 in steps of 1/32


@dataclass(frozen=True, slots=True)
class Progressive:
    """The quality of predictions made before each row was learned from, by weight; losses in nats.

    log_loss_error: the standard error of log_loss, which allows for correlated losses of neighbouring rows; None
    while there are too few rows. recent_log_loss: of about the last 16,384 rows. auc: for two classes, from bins of
    the log-odds, with an error of at most half the share of pairs whose rows are in the same bin; None where a class is
    missing or there are more than two.
    """

    rows: int
    weight: float
    log_loss: float
    log_loss_error: float | None
    recent_log_loss: float
    accuracy: float
    auc: float | None


@dataclass(slots=True)
class ProgressiveSums:
    """The sums behind `Progressive`, as arrays.

    totals (6,): rows, weight, loss, weight of correct predictions, recent weight, recent loss. batches (LEVELS, 4): for
    batches of 2^k calls of `add` their number and the sums of l^2, l w and w^2, where l is a batch's loss and w its
    weight. halves (LEVELS, 3): l and w of a batch that still lacks its second half, and 1 if there is one, else 0.
    histogram (2, BINS): weights by log-odds, of target 0 and of target 1.
    """

    totals: Array = field(default_factory=lambda: np.zeros(6))
    batches: Array = field(default_factory=lambda: np.zeros((LEVELS, 4)))
    halves: Array = field(default_factory=lambda: np.zeros((LEVELS, 3)))
    histogram: Array = field(default_factory=lambda: np.zeros((2, BINS)))

    def arrays(self) -> dict[str, Array]:
        """The arrays by their names in model files."""
        return {
            "progressive_totals": self.totals,
            "progressive_batches": self.batches,
            "progressive_waiting": self.halves,
            "progressive_histogram": self.histogram,
        }

    def add(self, raw: Array, target: Array, weight: Array, loss: Array) -> None:
        """Add consecutive rows: raw predictions and targets (n, outputs), weights (n,) and losses (n,)."""
        total_loss, total_weight = float(loss @ weight), float(weight.sum())
        if raw.shape[1] == 1:
            correct = np.where(raw[:, 0] > 0, target[:, 0], 1 - target[:, 0])
            place = ((raw[:, 0] * BINS_PER_UNIT) + BINS / 2).clip(0, BINS - 1).astype(np.int64)
            self.histogram[1] += np.bincount(place, weight * target[:, 0], BINS)
            self.histogram[0] += np.bincount(place, weight * (1 - target[:, 0]), BINS)
        else:
            correct = np.take_along_axis(target, raw.argmax(axis=1)[:, None], axis=1)[:, 0]
        decay = math.exp(-total_weight / WINDOW)
        self.totals[:4] += (len(loss), total_weight, total_loss, float(correct @ weight))
        self.totals[4:] = self.totals[4:] * decay + (total_weight, total_loss)
        if total_weight > 0:
            self._add_batch(total_loss, total_weight)

    def _add_batch(self, loss: float, weight: float) -> None:
        """Count a batch at its level; every second one is joined with the one before and counted one level up."""
        for level in range(LEVELS):
            self.batches[level] += (1, loss * loss, loss * weight, weight * weight)
            first_loss, first_weight, has_first = self.halves[level]
            if not has_first:
                self.halves[level] = loss, weight, 1
                return
            self.halves[level] = 0
            loss, weight = loss + first_loss, weight + first_weight

    def result(self) -> Progressive:
        """The means so far."""
        rows, weight, loss, correct, recent_weight, recent = self.totals.tolist()
        if weight == 0:
            return Progressive(int(rows), 0.0, math.nan, None, math.nan, math.nan, None)
        means = loss / weight, self._error(loss / weight), recent / recent_weight, correct / weight
        return Progressive(int(rows), weight, *means, self._auc())

    def _error(self, mean: float) -> float | None:
        """The standard error of the mean loss: the largest of those that batches of each length give.

        Losses of neighbouring rows are correlated; sums over long batches hardly are. For c batches of one length it is
        sqrt(c / (c - 1) sum (l - mean w)^2) / sum w (Flyvbjerg and Petersen 1989, doi:10.1063/1.457480).
        """
        counts, squares, products, weights = self.batches.T
        usable = counts >= MIN_BATCHES
        if not usable.any():
            return None
        deviations = (squares - 2 * mean * products + mean**2 * weights)[usable].clip(min=0)
        count = counts[usable]
        return float(np.sqrt((deviations * count / (count - 1)).max()) / self.totals[1])

    def _auc(self) -> float | None:
        negative, positive = self.histogram
        pairs = positive.sum() * negative.sum()
        return float(positive @ (np.cumsum(negative) - negative / 2) / pairs) if pairs > 0 else None
