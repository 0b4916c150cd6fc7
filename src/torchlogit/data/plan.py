"""How the rows of a source are used: the target, the weights, and the rows that are held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

TrainingMask: TypeAlias = Callable[[int, int], NDArray[np.bool_]]
"""mask(first, n): boolean mask of rows first..first+n-1 that are used for training (not held out)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which columns are target and weight, which rows are held out, and how many rows the encoder is learned from.

    target, weight: names of columns. positive: for two classes, the class whose probability is modelled. holdout: the
    share of rows to hold out, drawn at random with `seed`; None holds out no rows. sample_rows: the encoder, the
    classes and their weights are learned from the first sample_rows rows; None for all rows.
    """

    target: str
    positive: str | None = None
    weight: str | None = None
    holdout: float | None = None
    seed: int = 0
    sample_rows: int | None = None

    @property
    def training_mask(self) -> TrainingMask | None:
        """Which rows are training rows; None for all."""
        return None if self.holdout is None else random_mask(self.holdout, self.seed)

    @property
    def own_columns(self) -> list[str]:
        """The target column and, where there is one, the weight column."""
        return [self.target] if self.weight in (None, self.target) else [self.target, str(self.weight)]


def random_mask(share: float, seed: int) -> TrainingMask:
    """A mask that holds out a random share of rows: row i is trained on if `default_rng(seed).random(n)[i] >= share`.

    >>> mask = random_mask(0.5, seed=0)
    >>> mask(0, 4).tolist(), mask(2, 2).tolist(), (np.random.default_rng(0).random(4) >= 0.5).tolist()
    ([True, False, False, False], [False, False], [True, False, False, False])
    """

    def mask(first: int, n: int) -> NDArray[np.bool_]:
        draws = np.random.PCG64(seed)
        draws.advance(first)
        return np.asarray(np.random.Generator(draws).random(n) >= share)

    return mask
