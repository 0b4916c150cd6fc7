"""Row weights: a column of finite numbers, none negative."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from torchlogit.data.columns import as_numbers
from torchlogit.data.wording import suggestion
from torchlogit.errors import DataError


def weights_in(table: pa.Table, name: str) -> NDArray[np.float64]:
    """The weights in a column, (n,); DataError for one that is missing, negative or not finite.

    >>> weights_in(pa.table({"w": ["1", "2.5"]}), "w")
    array([1. , 2.5])
    """
    if name not in table.column_names:
        raise DataError(f"there is no weight column {name!r}; {suggestion(name, table.column_names)}")
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
    return weights.copy()  # Arrow's memory is read-only, and torch warns of tensors that share such memory


def no_weight(name: str) -> DataError:
    """The error for a weight column that is 0 in every row."""
    return DataError(f"weight {name!r} is 0 in every row; expected a positive weight in some", column=name)
