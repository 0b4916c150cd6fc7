"""Rows ready to train on or to measure: encoded, with classes and weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

from torchlogit.cli.pieces import piece_rows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from torchlogit.data.features import Matrix
    from torchlogit.errors import DataError
    from torchlogit.metrics import Metrics, MetricSums
    from torchlogit.model import LogisticModel


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a table, encoded: features, the index of each row's class, and weights."""

    features: Matrix
    codes: NDArray[np.int64]
    weight: NDArray[np.float64] | None

    def part(self, cut: slice) -> Rows:
        """Some of the rows."""
        return Rows(self.features[cut], self.codes[cut], None if self.weight is None else self.weight[cut])


def weights_of(table: pa.Table, name: str | None) -> NDArray[np.float64] | None:
    """The weights in a column, not negative, none missing, some of them positive."""
    weights = row_weights(table, name)
    if weights is not None and not weights.any():
        raise weightless(name)
    return weights


def weightless(name: str | None) -> DataError:
    """The error of a column of weights that are all zero."""
    from torchlogit.errors import DataError

    return DataError(f"weight {name!r} is 0 in every row; expected a positive weight in some", column=name)


def row_weights(table: pa.Table, name: str | None) -> NDArray[np.float64] | None:
    """The weights in a column, not negative, none missing; all of them may be zero."""
    if name is None:
        return None
    import numpy as np

    from torchlogit.data.columns import as_numbers
    from torchlogit.data.wording import meant
    from torchlogit.errors import DataError

    if name not in table.column_names:
        raise DataError(f"there is no weight column {name!r}; {meant(name, table.column_names)}")
    weights = as_numbers(table.column(name))
    if weights is None:
        raise DataError(f"weight {name!r} holds text; expected numbers, none negative: correct them", column=name)
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        found = "missing" if np.isnan(weights[wrong[0]]) else f"{weights[wrong[0]]:g}"
        raise DataError(
            f"weight {name!r} is {found}; expected a finite number, not negative: correct it",
            column=name,
            row=int(wrong[0]),
        )
    return weights.copy()  # Arrow's own numbers are read-only, of which torch warns


def measure(model: LogisticModel, rows: Rows) -> Metrics:
    """The model's metrics on these rows, summed over the same pieces as a stream of them."""
    n, most = len(rows.codes), piece_rows(model)
    cuts = [slice(start, start + most) for start in range(0, n, most)]
    return reduce(add, (sums_of(model, rows.part(cut)) for cut in cuts)).result()


def sums_of(model: LogisticModel, rows: Rows) -> MetricSums:
    """What the metrics of these rows, a piece, add to those of others."""
    import torch

    from torchlogit.losses import loss_for
    from torchlogit.metrics import MetricSums

    raw = torch.from_numpy(model.raw_of(rows.features))
    return MetricSums.of(loss_for(len(model.classes)), raw, rows.codes, rows.weight)
