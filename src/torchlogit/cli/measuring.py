"""Encoded rows measured: the same sums whether they come as one table or as a stream of blocks."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchlogit.data.encoded_rows import EncodedRows
    from torchlogit.metrics import Metrics, MetricSums
    from torchlogit.model import LogisticModel

MOST_ROWS = 1 << 16
MOST_VALUES = 1 << 23  # of the features of a block, and of its predictions: 32 and 64 MiB


def block_rows(model: LogisticModel) -> int:
    """How many rows a block has: a power of two that the model alone decides."""
    assert model.encoder is not None
    schema = model.encoder.schema
    width = int(min(len(model.feature_names), 2 * schema.filled)) + len(model.classes)
    return 1 << (min(MOST_ROWS, max(1, MOST_VALUES // width)).bit_length() - 1)


def measure(model: LogisticModel, rows: EncodedRows) -> Metrics:
    """The model's metrics on these rows, summed over the same blocks as a stream of them."""
    return reduce(add, (sums_of(model, part) for part in rows.parts(block_rows(model)))).result()


def sums_of(model: LogisticModel, rows: EncodedRows) -> MetricSums:
    """What the metrics of these rows, a block, add to those of others."""
    import numpy as np
    import torch

    from torchlogit.losses import loss_for
    from torchlogit.metrics import MetricSums

    raw = torch.from_numpy(model.raw_of(rows.features))
    return MetricSums.of(loss_for(len(model.classes)), raw, rows.codes.astype(np.int64), rows.weight)
