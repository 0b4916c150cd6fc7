"""The weights of a stream's experts: each is judged by its losses on rows that it has not learned from yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from torchlogit.streaming.class_share import ClassShare, Shares
from torchlogit.streaming.progressive import ProgressiveSums

Array = NDArray[np.float64]

# Fixed-share switching rates, one for each mixture: the fraction of all weight that is spread evenly after every row.
# Larger: a change of the best expert is followed sooner, but a steady stream is predicted worse. 0 stands for
# 1 / (rows so far). With 1e-3 alone one pass over cover types ends at 1.4e-4 nats a row above the optimum, with both
# at 9e-6 (docs/decisions/0017-streams.md).
SWITCHING_RATES = np.array([1e-3, 0.0])


class Judged(NamedTuple):
    """A stream's raw predictions (n, outputs) of rows, their losses (n,), and those of the running class share (n,)."""

    raw: Array
    loss: Array
    share_loss: Array


class ExpertWeights:
    """Weights of e linear experts in each of two mixtures (2, e), of the mixtures (2,), and the answer's weights (e,).

    Before the first row all are equal. The answer's weights are the experts' overall weights, averaged over about the
    last 4,096 rows, since a few lucky rows can give an expert a tenth of all weight. See kernels/expert_loops.py.
    share: the class share, with which the experts' mean prediction is mixed once more (class_share.py).
    """

    def __init__(self, n_experts: int, outputs: int, intercept: bool) -> None:
        mixtures = len(SWITCHING_RATES)
        self.of_experts = np.full((mixtures, n_experts), 1 / n_experts)
        self.of_mixtures, self.recent = np.full(mixtures, 1 / mixtures), np.full(n_experts, 1 / n_experts)
        self.share = ClassShare(outputs, n_experts, intercept)

    def arrays(self) -> dict[str, Array]:
        """The arrays by their names in model files."""
        weights = {"belief": self.of_experts, "trust": self.of_mixtures, "recent": self.recent}
        return weights | self.share.arrays()

    def mix(
        self, raws: Array, target: Array, weight: Array, shares: Shares, rows_before: float, weight_before: float
    ) -> Judged:
        """The stream's predictions of these rows, by the experts and the share; the weights are updated row by row.

        raws (e, n, outputs): the experts' predictions, which are limited in place to what rows_before, the number of
        rows before these, and their weight are evidence for.
        """
        from torchlogit.kernels import expert_loops

        mean, losses = np.empty_like(target), np.empty((2, len(target)))
        weights = self.of_experts, self.of_mixtures, self.recent
        expert_loops.limit(raws, weight, rows_before, weight_before)
        expert_loops.mix(raws, target, weight, SWITCHING_RATES, rows_before, *weights, mean, losses[1])
        expert_loops.losses(shares.raw, target, losses[0])
        raw, loss = self.share.mix(shares, mean, losses, target, weight)
        return Judged(raw, loss, losses[0])

    def fresh_share(self, progressive: ProgressiveSums) -> dict[str, Array]:
        """The class share's arrays as they are, for a record that has none, of a stream with earlier rows.

        The answer is then the linear model in any case, which has learned from rows that the share does not count.
        """
        self.share.keep_linear()
        return self.share.arrays() | progressive.share_arrays()

    def share_losses(self, target: Array, weight: Array) -> Array:
        """The class share's losses (n,) on further rows, which it learns from and the experts do not."""
        from torchlogit.kernels import expert_loops

        loss = np.empty(len(target))
        expert_loops.losses(self.share.predict_and_learn(target, weight, np.zeros_like(target)).raw, target, loss)
        return loss

    def by_name(self, names: Sequence[str]) -> dict[str, float]:
        """The weights that the answer is formed with."""
        share = float(self.share.leads)
        return {"class share": share} | dict(zip(names, ((1 - share) * self.recent).tolist(), strict=True))
