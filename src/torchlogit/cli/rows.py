"""Rows ready to train on or to measure: encoded, with classes and weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from torchlogit.data.features import Matrix
    from torchlogit.metrics import Metrics
    from torchlogit.model import LogisticModel


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a table, encoded: features, the index of each row's class, and weights."""

    features: Matrix
    codes: NDArray[np.int64]
    weight: NDArray[np.float64] | None


def measure(model: LogisticModel, rows: Rows) -> Metrics:
    """The model's metrics on these rows."""
    import torch

    from torchlogit.losses import loss_for
    from torchlogit.metrics import MetricSums

    raw = torch.from_numpy(model.raw_of(rows.features))
    return MetricSums.of(loss_for(len(model.classes)), raw, rows.codes, rows.weight).result()
