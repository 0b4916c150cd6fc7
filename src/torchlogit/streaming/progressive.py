"""Progressive validation: what a stream's learner said of each row before it learned from it, in sums."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEVELS = 48  # of batches that double in length: 2^48 units are more than any stream has
FEWEST = 16  # batches that a spread is taken from
WINDOW = 1 << 14  # rows that the recent log loss looks back over, by e^-1
BINS, PER_UNIT = 1024, 32  # of the log-odds, in which AUC is told apart: 16 either way in steps of 1/32


def _zeros(*shape: int) -> Array:
    return np.zeros(shape)


@dataclass(frozen=True, slots=True)
class Progressive:
    """What people read of it, by weight. log_loss +- its standard error, in nats; recent_log_loss, of the last rows.

    log_loss_error: None before there are rows to tell it from. auc: two classes, from bins of the log-odds; it is out
    by at most half of the share of pairs that share a bin. None where a class is absent, or there are more than two.
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
    """The sums, as arrays that are saved with a learner's state; `add` takes a unit of consecutive rows.

    totals: rows, weight, loss, correct, recent weight, recent loss. batches (LEVELS, 4): of batches of 2^k units their
    number, and the sums of l^2, l w and w^2, l a batch's loss and w its weight; waiting (LEVELS, 2): a first half's l
    and w; held: whether there is one. histogram (2, BINS): weights by log-odds, of target 0 and 1.
    """

    totals: Array = field(default_factory=lambda: _zeros(6))
    batches: Array = field(default_factory=lambda: _zeros(LEVELS, 4))
    waiting: Array = field(default_factory=lambda: _zeros(LEVELS, 3))
    histogram: Array = field(default_factory=lambda: _zeros(2, BINS))

    def add(self, loss: Array, raw: Array, target: Array, weight: Array) -> None:
        """Rows with these losses (n,), raw predictions and targets (n, outputs), and weights (n,)."""
        lost, weighed = float(loss @ weight), float(weight.sum())
        if raw.shape[1] == 1:
            correct = np.where(raw[:, 0] > 0, target[:, 0], 1 - target[:, 0])
            place = ((raw[:, 0] * PER_UNIT) + BINS / 2).clip(0, BINS - 1).astype(np.int64)
            self.histogram[1] += np.bincount(place, weight * target[:, 0], BINS)
            self.histogram[0] += np.bincount(place, weight * (1 - target[:, 0]), BINS)
        else:
            correct = np.take_along_axis(target, raw.argmax(axis=1)[:, None], axis=1)[:, 0]
        fade = math.exp(-weighed / WINDOW)
        self.totals[:4] += (len(loss), weighed, lost, float(correct @ weight))
        self.totals[4:] = self.totals[4:] * fade + (weighed, lost)
        if weighed > 0:
            self._batch(lost, weighed)

    def _batch(self, lost: float, weighed: float) -> None:
        """Counts a batch at its level, and every second one, with the one before, at the next."""
        for level in range(LEVELS):
            self.batches[level] += (1, lost * lost, lost * weighed, weighed * weighed)
            first, weight_first, held = self.waiting[level]
            if not held:
                self.waiting[level] = lost, weighed, 1
                return
            self.waiting[level] = 0
            lost, weighed = lost + first, weighed + weight_first

    def result(self) -> Progressive:
        """The means."""
        rows, weight, loss, correct, recent_weight, recent = self.totals.tolist()
        if weight == 0:
            return Progressive(int(rows), 0.0, math.nan, None, math.nan, math.nan, None)
        means = loss / weight, self._error(loss / weight), recent / recent_weight, correct / weight
        return Progressive(int(rows), weight, *means, self._auc())

    def _error(self, mean: float) -> float | None:
        """The largest that batches of any length show: losses of neighbours go together, those of long batches less.

        For batches of one level, sqrt(c / (c - 1) sum (l - mean w)^2) / sum w; Flyvbjerg and Petersen 1989,
        doi:10.1063/1.457480.
        """
        counts, squares, products, weights = self.batches.T
        usable = counts >= FEWEST
        if not usable.any():
            return None
        spread = (squares - 2 * mean * products + mean**2 * weights)[usable].clip(min=0)
        count = counts[usable]
        return float(np.sqrt((spread * count / (count - 1)).max()) / self.totals[1])

    def _auc(self) -> float | None:
        down, up = self.histogram
        pairs = up.sum() * down.sum()
        return float(up @ (np.cumsum(down) - down / 2) / pairs) if pairs > 0 else None
