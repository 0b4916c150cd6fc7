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
    while there are too few rows. share_log_loss: what always predicting the class share of the rows so far would have
    lost on the same rows. gain: share_log_loss - log_loss, the larger the better, and its standard error gain_error.
    These three count the rows since the class share was kept: of a stream that an earlier version began, those after
    it was loaded, and None if there are none. recent_log_loss: of about the last 16,384 rows. auc: for two classes,
    from bins of the log-odds, with an error of at most half the share of pairs whose rows are in the same bin; None
    where a class is missing or there are more than two.
    """

    rows: int
    weight: float
    log_loss: float
    log_loss_error: float | None
    recent_log_loss: float
    accuracy: float
    auc: float | None
    share_log_loss: float | None
    gain: float | None
    gain_error: float | None

    @property
    def no_better(self) -> bool:
        """Whether the predictions were no better than the class share, on enough rows for a standard error."""
        return self.gain is not None and self.gain_error is not None and self.gain <= 0

    @property
    def against_share(self) -> str:
        """By how much the predictions were better or worse than the class share, in nats per unit of weight.

        >>> Progressive(9, 9.0, 0.5, None, 0.5, 0.8, 0.9, 0.62, 0.12, 0.01).against_share
        '0.12 +- 0.01 better than always predicting the class share of the rows so far (0.62)'
        """
        assert self.gain is not None
        how, error = "better" if self.gain > 0 else "worse", plus_minus(self.gain_error)
        share = f"always predicting the class share of the rows so far ({self.share_log_loss:.5g})"
        return f"{abs(self.gain):.2g}{error} {how} than {share}"


def plus_minus(error: float | None) -> str:
    """A standard error as messages show it.

    >>> plus_minus(0.0123), plus_minus(None)
    (' +- 0.012', '')
    """
    return "" if error is None else f" +- {error:.2g}"


@dataclass(slots=True)
class BatchSums:
    """The standard error of a mean of correlated values, from the sums of batches of 2^k calls of `add`.

    batches (LEVELS, 4): the number of batches of each length and the sums of v^2, v w and w^2, where v is a batch's
    value and w its weight. halves (LEVELS, 3): v and w of a batch that still lacks its second half, and 1 if there is
    one, else 0.
    """

    batches: Array = field(default_factory=lambda: np.zeros((LEVELS, 4)))
    halves: Array = field(default_factory=lambda: np.zeros((LEVELS, 3)))

    def add(self, value: float, weight: float) -> None:
        """Count a batch at its level; every second one is joined with the one before and counted one level up."""
        for level in range(LEVELS):
            self.batches[level] += (1, value * value, value * weight, weight * weight)
            first_value, first_weight, has_first = self.halves[level]
            if not has_first:
                self.halves[level] = value, weight, 1
                return
            self.halves[level] = 0
            value, weight = value + first_value, weight + first_weight

    def error(self, mean: float, total: float) -> float | None:
        """The standard error of the mean value per weight: the largest of those that batches of each length give.

        Values of neighbouring rows are correlated; sums over long batches hardly are. For c batches of one length it is
        sqrt(c / (c - 1) sum (v - mean w)^2) / sum w (Flyvbjerg and Petersen 1989, doi:10.1063/1.457480). total: the
        weight of all batches. None while there are too few.
        """
        counts, squares, products, weights = self.batches.T
        usable = counts >= MIN_BATCHES
        if not usable.any():
            return None
        deviations = (squares - 2 * mean * products + mean**2 * weights)[usable].clip(min=0)
        count = counts[usable]
        return float(np.sqrt((deviations * count / (count - 1)).max()) / total)


@dataclass(slots=True)
class ProgressiveSums:
    """The sums behind `Progressive`, as arrays.

    totals (6,): rows, weight, loss, weight of correct predictions, recent weight, recent loss. share_totals (3,):
    weight of the rows for which the class share's loss is known, the sum of these losses, and the same less the
    stream's own losses. loss, gain: batches of the stream's losses, and of that difference. histogram (2, BINS):
    weights by log-odds, of target 0 and of target 1.
    """

    totals: Array = field(default_factory=lambda: np.zeros(6))
    share_totals: Array = field(default_factory=lambda: np.zeros(3))
    loss: BatchSums = field(default_factory=BatchSums)
    gain: BatchSums = field(default_factory=BatchSums)
    histogram: Array = field(default_factory=lambda: np.zeros((2, BINS)))

    def arrays(self) -> dict[str, Array]:
        """The arrays by their names in model files."""
        return {
            "progressive_totals": self.totals,
            "progressive_batches": self.loss.batches,
            "progressive_waiting": self.loss.halves,
            "progressive_histogram": self.histogram,
        } | self.share_arrays()

    def share_arrays(self) -> dict[str, Array]:
        """Those that compare the stream with the class share."""
        return {
            "share_totals": self.share_totals,
            "share_batches": self.gain.batches,
            "share_waiting": self.gain.halves,
        }

    def add(self, target: Array, weight: Array, raw: Array, loss: Array, share_loss: Array) -> None:
        """Add consecutive rows: targets (n, outputs), weights (n,), raw predictions, losses and the share's losses."""
        total_loss, total_weight, share = float(loss @ weight), float(weight.sum()), float(share_loss @ weight)
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
        self.share_totals += (total_weight, share, share - total_loss)
        if total_weight > 0:
            self.loss.add(total_loss, total_weight)
            self.gain.add(share - total_loss, total_weight)

    def result(self) -> Progressive:
        """The means so far."""
        rows, weight, loss, correct, recent_weight, recent = self.totals.tolist()
        share = self._against_share()
        if weight == 0:
            return Progressive(int(rows), 0.0, math.nan, None, math.nan, math.nan, None, *share)
        means = loss / weight, self.loss.error(loss / weight, weight), recent / recent_weight, correct / weight
        return Progressive(int(rows), weight, *means, self._auc(), *share)

    def _against_share(self) -> tuple[float | None, float | None, float | None]:
        """The class share's mean loss, the gain and its standard error."""
        weight, share, gain = self.share_totals.tolist()
        if weight == 0:
            return None, None, None
        return share / weight, gain / weight, self.gain.error(gain / weight, weight)

    def _auc(self) -> float | None:
        negative, positive = self.histogram
        pairs = positive.sum() * negative.sum()
        return float(positive @ (np.cumsum(negative) - negative / 2) / pairs) if pairs > 0 else None
