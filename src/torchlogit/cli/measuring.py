"""Metrics of a model on encoded rows. One table and a stream of blocks give the same bits."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchlogit.data.encoded_rows import EncodedRows
    from torchlogit.metrics import Metrics, MetricSums
    from torchlogit.model import LogisticModel

MAX_ROWS = 1 << 16  # the most rows of a block
# The most values of a block, features and predictions together: at most 32 MiB in float32, 64 MiB in float64.
MAX_VALUES = 1 << 23


def block_rows(model: LogisticModel) -> int:
    """The number of rows of a block: a power of two that depends only on the model, so that sums are reproducible."""
    assert model.encoder is not None
    schema = model.encoder.schema
    width = int(min(len(model.feature_names), 2 * schema.filled)) + len(model.classes)
    return 1 << (min(MAX_ROWS, max(1, MAX_VALUES // width)).bit_length() - 1)


def measure(model: LogisticModel, rows: EncodedRows) -> Metrics:
    """The model's metrics on these rows, summed over the same blocks as in `evaluate`."""
    return reduce(add, (sums_of(model, block) for block in rows.blocks(block_rows(model)))).result()


def sums_of(model: LogisticModel, rows: EncodedRows) -> MetricSums:
    """The sums of one block of rows, from which metrics are computed."""
    import numpy as np
    import torch

    from torchlogit.losses import loss_for
    from torchlogit.metrics import MetricSums

    raw = torch.from_numpy(model.raw_of(rows.features))
    return MetricSums.of(loss_for(len(model.classes)), raw, rows.codes.astype(np.int64), rows.weight)
