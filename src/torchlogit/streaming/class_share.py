"""The class share as an expert beside all others, so that no stream predicts worse than its running class share.

The other experts are averaged in their raw predictions, so that their mean is one linear model. Such a mean has no
guarantee: one expert far off spoils it, however small its weight. It is therefore mixed once more with the running
class share, now in probabilities, by Bayes' rule. The prior of the share and the rate of switching are such that the
losses of the mixture, in all, exceed those of the share by at most

    log(number of experts) * (largest weight of a row)

nats, whatever the rows are (docs/decisions/0026-class-share-expert.md has the proof).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from torchlogit.records import Params

Array = NDArray[np.float64]

# After the r-th row the share 1 / (STAY + r)^2 of each of the two weights goes to the other, so that one that was far
# ahead can be caught up. Never to switch costs log((STAY + 1) / STAY) nats in all; larger: less, and a switch costs
# more.
STAY = 9
# The share takes the place of the linear model only after this many rows: the blocks of StreamingNewton begin there, so
# that fewer rows say nothing about its models.
LEAST_ROWS = 256


class Shares(NamedTuple):
    """Predictions of rows by the class shares before each, raw (n, outputs), and the largest weight so far (n,)."""

    raw: Array
    largest: Array


class ClassShare:
    """The running class share of K classes, its weight against that of the linear experts, and what both rest on.

    counts (K,): weight of the rows of each class. belief (2,): the weights of the share and of the linear experts.
    seen (3,): the largest weight of a row; 1 if the answer is the linear model in any case, else 0; and the number of
    rows of positive weight.

    Parameters
    ----------
    outputs : int
        Of the loss: 1 for two classes, else K.
    n_experts : int
        The number of linear experts.
    intercept : bool
        Whether the models have one. Without it no model predicts the share, and the answer is the linear model.
    """

    def __init__(self, outputs: int, n_experts: int, intercept: bool) -> None:
        share = (STAY + 1) / STAY / (n_experts + 1)
        self.prior = np.array([share, 1 - share])
        self.counts, self.belief = np.zeros(max(outputs, 2)), self.prior.copy()
        self.seen = np.array([0.0, float(not intercept), 0.0])

    def arrays(self) -> dict[str, Array]:
        """The arrays by their names in model files."""
        return {"share_counts": self.counts, "share_belief": self.belief, "share_seen": self.seen}

    @property
    def leads(self) -> bool:
        """Whether the answer is the model that predicts the share for every row."""
        return bool(self.belief[0] > 0.5 and self.seen[2] >= LEAST_ROWS and self.seen[1] == 0)

    def keep_linear(self) -> None:
        """Let the answer be the linear model in any case, as it rests on more than the rows that the share counts."""
        self.seen[1] = 1

    def params(self, n_features: int) -> Params:
        """The model that predicts the share for every row: coefficients of zero, and an intercept."""
        raw = np.log(self.counts + 0.5 * self.seen[0])
        intercept = raw[1:] - raw[:1] if len(raw) == 2 else raw - raw.mean()
        coef = torch.zeros((n_features, len(intercept)), dtype=torch.float64)
        return Params(coef, torch.from_numpy(intercept))

    def predict_and_learn(self, target: Array, weight: Array, offset: Array) -> Shares:
        """The share's predictions of rows, each made before the row is counted."""
        from torchlogit.kernels import share_loops

        raw, largest = np.empty_like(target), np.maximum(np.maximum.accumulate(weight), self.seen[0])
        share_loops.share(target, weight, self.counts, largest, raw)
        if offset.any():
            self.keep_linear()
        return Shares(raw, largest)

    def mix(self, shares: Shares, linear: Array, losses: Array, target: Array, weight: Array) -> tuple[Array, Array]:
        """The stream's own predictions (n, outputs) of rows, and their losses (n,); the weights are updated.

        linear (n, outputs): the linear experts' mean raw prediction. losses (2, n): of the share and of linear.
        """
        from torchlogit.kernels import share_loops

        own, raw, loss = np.empty_like(losses), np.empty_like(target), np.empty(len(target))
        moving = self.seen, self.belief, own
        share_loops.mix(losses.copy(), weight, shares.largest, self.prior, float(STAY), *moving)
        share_loops.combine(np.stack([shares.raw, linear]), own, target, raw, loss)
        return raw, loss
