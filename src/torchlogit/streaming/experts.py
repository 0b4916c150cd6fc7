"""The weights of a stream's experts: each is judged by its losses on rows that it has not learned from yet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Fixed-share switching rates, one for each mixture: the fraction of all weight that is spread evenly after every row.
# Larger: a change of the best expert is followed sooner, but a steady stream is predicted worse. 0 stands for
# 1 / (rows so far). With 1e-3 alone one pass over cover types ends at 1.4e-4 nats a row above the optimum, with both
# at 9e-6 (docs/decisions/0017-streams.md).
SWITCHING_RATES = np.array([1e-3, 0.0])


class ExpertWeights:
    """Weights of e experts in each of two mixtures (2, e), of the mixtures (2,), and the answer's weights (e,).

    Before the first row all are equal. The answer's weights are the experts' overall weights, averaged over about the
    last 4,096 rows, since a few lucky rows can give an expert a tenth of all weight. See kernels/expert_loops.py.
    """

    def __init__(self, n_experts: int) -> None:
        mixtures = len(SWITCHING_RATES)
        self.of_experts = np.full((mixtures, n_experts), 1 / n_experts)
        self.of_mixtures, self.recent = np.full(mixtures, 1 / mixtures), np.full(n_experts, 1 / n_experts)

    def arrays(self) -> dict[str, Array]:
        """The arrays by their names in model files."""
        return {"belief": self.of_experts, "trust": self.of_mixtures, "recent": self.recent}

    def mix(self, raws: Array, target: Array, weight: Array, rows_before: float) -> tuple[Array, Array]:
        """The averaged raw predictions (n, outputs) and their losses (n,); the weights are updated row by row.

        raws (e, n, outputs): the experts' predictions. rows_before: the number of rows before these.
        """
        from torchlogit.kernels import expert_loops

        raw, loss = np.empty_like(target), np.empty(len(target))
        weights = self.of_experts, self.of_mixtures, self.recent
        expert_loops.mix(raws, target, weight, SWITCHING_RATES, rows_before, *weights, raw, loss)
        return raw, loss

    def by_name(self, names: Sequence[str]) -> dict[str, float]:
        """The weights that the answer is formed with."""
        return dict(zip(names, self.recent.tolist(), strict=True))
