"""Problem: the objective for labelled rows, on conditioned columns."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import scipy.sparse
import torch
from numpy.typing import NDArray

from torchlogit.data.encoded_rows import RereadFeatures
from torchlogit.design import Dense, DesignMatrix, Sparse, Streamed
from torchlogit.errors import InputError
from torchlogit.losses import loss_for
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.storage import IN_MEMORY, Storage
from torchlogit.training.rows import Features, LabelledRows


@dataclass(frozen=True, slots=True)
class Problem:
    """The objective for some rows."""

    rows: LabelledRows
    objective: Objective

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
        """The objective for these rows; arrays with an entry per row are allocated in `storage`."""
        objective = objective_of(rows, penalty, intercept=intercept, device=device, storage=storage)
        if isinstance(rows.features, RereadFeatures) and rows.features.standardized:
            return cls(rows, objective)  # its columns are near zero; means would take a pass
        return cls(rows, objective.conditioned())

    def losses_of(self, others: LabelledRows) -> Objective:
        """The sum of the losses of other rows, without penalty, on columns conditioned alike, as an objective."""
        intercept, device = self.objective.design.has_intercept, self.objective.target.device
        losses = objective_of(others, ElasticNet(), intercept=intercept, device=device)
        return losses.conditioned_as(self.objective.conditioning)


def objective_of(
    rows: LabelledRows,
    penalty: ElasticNet,
    *,
    intercept: bool,
    device: torch.device,
    storage: Storage = IN_MEMORY,
) -> Objective:
    """The objective for these rows, on their columns as given."""
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
    if isinstance(X, RereadFeatures):
        return Streamed.of(X.read, intercept=intercept)
    if not scipy.sparse.issparse(X):
        return Dense.of((X if isinstance(X, torch.Tensor) else _tensor(X)).to(device), intercept=intercept)
    if device.type != "cpu":
        raise InputError(f"device={str(device)!r}: X is sparse, which only the CPU takes; use 'auto', or X.toarray()")
    return Sparse.of(X, intercept=intercept)


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    """The array as a tensor that shares its memory; torch's warning about read-only arrays is silenced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)
