"""The objective of labelled rows, with columns far from zero centred."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray

from torchlogit.data.encoded_rows import ReadAnew
from torchlogit.design import Dense, DesignMatrix, Sparse, Streamed
from torchlogit.errors import InputError
from torchlogit.losses import loss_for
from torchlogit.objective import Objective
from torchlogit.path import with_l2
from torchlogit.penalties import ElasticNet
from torchlogit.storage import IN_MEMORY, Storage
from torchlogit.training.rows import Array, Features, LabelledRows

FAR = 1e-8  # a column is centred where its variance is below this share of its mean square: mean / spread above 1e4


@dataclass(frozen=True, slots=True)
class Problem:
    """The objective of some rows; center (n_features,): what was subtracted from each of their columns."""

    rows: LabelledRows
    objective: Objective
    center: Array

    @classmethod
    def of(
        cls,
        rows: LabelledRows,
        penalty: ElasticNet,
        *,
        intercept: bool,
        device: torch.device,
        storage: Storage = IN_MEMORY,
    ) -> Problem:
        """The objective of these rows; vectors with an entry per row live in the storage."""
        objective = objective_of(rows, penalty, intercept=intercept, device=device, storage=storage)
        center = _center(objective, rows.features)
        if center.any():
            moved = _moved(rows, center)
            objective = objective_of(moved, penalty, intercept=intercept, device=device, storage=storage)
        return cls(rows, objective, center)

    def with_l2(self, l2: float) -> Problem:
        """The same problem under another l2."""
        return replace(self, objective=with_l2(self.objective, l2))

    def unpenalised(self, others: LabelledRows, *, centred: bool) -> Objective:
        """The sum of the losses of other rows; centred: with the same subtracted from their columns."""
        rows = _moved(others, self.center) if centred else others
        intercept, device = self.objective.design.has_intercept, self.objective.target.device
        return objective_of(rows, ElasticNet(), intercept=intercept, device=device)


def objective_of(
    rows: LabelledRows,
    penalty: ElasticNet,
    *,
    intercept: bool,
    device: torch.device,
    storage: Storage = IN_MEMORY,
) -> Objective:
    """The objective of these rows, their columns as they are."""
    loss = loss_for(len(rows.classes))
    offset = rows.offsets(loss.n_outputs)
    return Objective.of(
        _design(rows.features, intercept, device),
        torch.from_numpy(rows.target(loss.n_outputs, storage)).to(device),
        loss=loss,
        penalty=penalty,
        weight=None if (rows.weight == 1).all() else _tensor(rows.weight),
        offset=None if offset is None else torch.from_numpy(offset),
        storage=storage,
    )


def _design(X: Features, intercept: bool, device: torch.device) -> DesignMatrix:
    if isinstance(X, ReadAnew):
        return Streamed.of(X.read, intercept=intercept)
    if not scipy.sparse.issparse(X):
        return Dense.of((X if isinstance(X, torch.Tensor) else _tensor(X)).to(device), intercept=intercept)
    if device.type != "cpu":
        raise InputError(f"device={str(device)!r}: X is sparse, which only the CPU takes; use 'auto', or X.toarray()")
    return Sparse.of(X, intercept=intercept)


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    """The array as a tensor that shares its memory; it is only read, so torch's warning of read-only ones is off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)


def _center(objective: Objective, X: Features) -> Array:
    """The mean of every column that is more than 1e4 standard deviations away from zero, 0 for others, (n_features,).

    In a column such as seconds since 1970 the spread is lost among the digits of the mean. The intercept, which is not
    penalised, absorbs the shift, so F is the same. Sparse columns with implicit zeros are not centred: that would make
    them dense.
    """
    if not objective.design.has_intercept or isinstance(X, ReadAnew):  # an encoded table has no columns far from zero
        return np.zeros(X.shape[1])
    means, squares = (part[:-1] / objective.total_weight for part in objective.moments)
    far = squares - means.square() < FAR * squares
    center: Array = torch.where(far, means, torch.zeros_like(means)).cpu().numpy()
    if scipy.sparse.issparse(X) and center.any():
        center[np.bincount(X.indices, minlength=len(center)) < X.shape[0]] = 0
    return center


def _moved(rows: LabelledRows, center: Array) -> LabelledRows:
    """These rows with `center` subtracted from every column."""
    return replace(rows, features=_centered(rows.features, center)) if center.any() else rows


def _centered(X: Features, center: Array) -> Features:
    """X - center, where center is zero for columns of a sparse X that do not store every value."""
    if isinstance(X, torch.Tensor):
        return X.to(torch.float64) - torch.from_numpy(center).to(X.device)
    if not scipy.sparse.issparse(X):
        return X - center
    return scipy.sparse.csr_array((X.data - center[X.indices], X.indices, X.indptr), shape=X.shape)
