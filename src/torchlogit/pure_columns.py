"""Columns that separate the classes alone, found without a linear program: for one-hot columns by the ten thousand.

A level that occurs in rows of one class only has a coefficient that runs off to infinity. With thousands of levels and
no penalty there usually are some, and neither a bound nor the programs of `separation` are within reach.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from torchlogit.design import Sparse
from torchlogit.objective import Objective
from torchlogit.records import Separation

Array = NDArray[np.float64]
Booleans = NDArray[np.bool_]


def pure_columns(objective: Objective) -> Separation | None:
    """The columns of sparse X each of which separates the classes by itself; None where there are none.

    A column does so if, of the rows where it is not zero, those of some class have values of one sign, and all others
    of the opposite sign. Only signs are compared, which is exact. A column counts if its coefficient may go to infinity
    on that side.

    Examples
    --------
    >>> import scipy.sparse, torch
    >>> from torchlogit.losses import Logistic
    >>> from torchlogit.penalties import ElasticNet
    >>> levels = scipy.sparse.csr_array(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))
    >>> target = torch.tensor([[0.0], [1.0], [1.0], [1.0]])
    >>> pure_columns(Objective.of(Sparse.of(levels), target, loss=Logistic(), penalty=ElasticNet()))
    Separation(complete=False, directions=((1, 0, 1),), intercepts=())
    """
    if not isinstance(objective.design, Sparse):
        return None
    csr, target, counted = objective.design.csr(), objective.target.numpy(), objective.weight.numpy() > 0
    row = np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr))
    keep = counted[row] & (csr.data != 0)
    row, column, positive = row[keep], csr.indices[keep], csr.data[keep] > 0
    low, high = (objective.coef(end)[:, 0].numpy() for end in objective.dual_range)
    found = list[tuple[int, int, int]]()
    for output in range(target.shape[1]):
        own, other = target[row, output] == 1, target[row, output] == 0
        up, down = (own & positive) | (other & ~positive), (own & ~positive) | (other & positive)
        for sign, right, free in ((1, up, high == 0), (-1, down, low == 0)):
            separating = _only(column, right, len(low)) & free
            found += [(int(j), output, sign) for j in separating.nonzero()[0]]
    return Separation(False, tuple(sorted(found))) if found else None


def _only(column: NDArray[np.int32], right: Booleans, n_columns: int) -> Booleans:
    """Whether a column has values, all of them on the right side."""
    wrong, count = (np.bincount(part, minlength=n_columns) for part in (column[~right], column))
    only: Booleans = (wrong == 0) & (count > 0)
    return only
