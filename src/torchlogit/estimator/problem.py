"""X and y, as scikit-learn hands them over, made into an objective."""

from __future__ import annotations

import hashlib
import warnings
from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from torchlogit.data.targets import Targets
from torchlogit.design import Dense, DesignMatrix, Sparse, as_csr
from torchlogit.errors import InputError
from torchlogit.losses import loss_for
from torchlogit.metrics import targets as hard_targets
from torchlogit.model import Label
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet

Array = NDArray[np.float64]
Features = Any  # a matrix: NDArray, or scipy.sparse.csr_array, columns ascending and none twice
HASHED_ROWS = 10_000  # in a fingerprint: hashing all of X can take longer than the fit


def without_torch(X: Any) -> Any:
    """X, as a matrix of scipy where it is a sparse tensor, which scikit-learn does not know."""
    return as_csr(X) if isinstance(X, torch.Tensor) and X.layout != torch.strided else X


def canonical(X: Any) -> Features:
    return as_csr(X) if scipy.sparse.issparse(X) else X


def _design(X: Features, intercept: bool, device: torch.device) -> DesignMatrix:
    if not scipy.sparse.issparse(X):
        return Dense.of(_tensor(X).to(device), intercept=intercept)
    if device.type != "cpu":
        raise InputError(f"device={str(device)!r}: X is sparse, which only the CPU takes; use 'auto', or X.toarray()")
    return Sparse.of(X, intercept=intercept)


def objective_of(
    X: Features,
    targets: Targets,
    weight: Array,
    offset: ArrayLike | None,
    penalty: ElasticNet,
    intercept: bool,
    device: torch.device,
) -> Objective:
    loss = loss_for(len(targets.classes))
    if targets.codes is not None:
        target = hard_targets(loss, torch.from_numpy(targets.codes))
    else:
        assert targets.share is not None
        target = torch.from_numpy(targets.share[:, 1:] if loss.n_outputs == 1 else targets.share)
    return Objective.of(
        _design(X, intercept, device),
        target.to(device),
        loss=loss,
        penalty=penalty,
        weight=None if (weight == 1).all() else _tensor(weight),
        offset=None if offset is None else torch.from_numpy(offset_of(offset, X.shape[0], targets)),
    )


def offset_of(offset: ArrayLike, n: int, targets: Targets) -> Array:
    """A fixed addition to every row's raw prediction, (n, n_outputs), from (n,) for two classes or (n, n_classes)."""
    n_outputs = loss_for(len(targets.classes)).n_outputs
    values = np.asarray(offset, dtype=np.float64)
    if values.shape != ((n,) if n_outputs == 1 else (n, n_outputs)):
        wanted = f"({n},)" if n_outputs == 1 else f"({n}, {n_outputs})"
        raise InputError(f"offset has shape {values.shape}: expected {wanted}, a number for each row and output")
    return np.ascontiguousarray(values.reshape(n, n_outputs))


def by_column(name: str, values: ArrayLike | None, n_features: int) -> torch.Tensor | None:
    """One number for each column, from a number for all of them or an array."""
    if values is None:
        return None
    array = np.asarray(values, dtype=np.float64)
    if array.ndim > 1 or (array.ndim == 1 and len(array) != n_features):
        raise InputError(f"{name} has shape {array.shape}: expected one number, or {n_features}, one for each column")
    return torch.from_numpy(np.broadcast_to(array, (n_features,)).copy())


def seed_of(random_state: int | np.random.RandomState | None) -> int:
    """A whole number is the seed itself, so that 0, the default, gives what the command line gives."""
    if random_state is None or isinstance(random_state, int | np.integer):
        return int(random_state or 0)
    return int(check_random_state(random_state).randint(2**31))


def center_of(objective: Objective, X: Features) -> Array:
    """The mean of every column that is more than 1e4 of its spreads away from zero, 0 for all others, (n_features,).

    In a column such as seconds since 1970 the spread is lost among the digits of the offset. The intercept, which is
    free, takes the offset up: F is the same. A sparse column that stores no value for some row stays as it is.
    """
    if not objective.design.has_intercept:
        return np.zeros(objective.design.shape[1])
    sums, squares = (part[:-1] / objective.total_weight for part in objective.moments)
    far = squares - sums.square() < 1e-8 * squares
    center: Array = torch.where(far, sums, torch.zeros_like(sums)).cpu().numpy()
    if scipy.sparse.issparse(X) and center.any():
        center[np.bincount(X.indices, minlength=len(center)) < X.shape[0]] = 0
    return center


def centered(X: Features, center: Array) -> Features:
    """X - center, which is zero where a sparse X does not store every value."""
    if not scipy.sparse.issparse(X):
        return X - center
    return scipy.sparse.csr_array((X.data - center[X.indices], X.indices, X.indptr), shape=X.shape)


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    """The array as a tensor, not copied; it is only read, so torch need not warn where it is read-only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)


def refuse_weightless(targets: Targets, weight: Array) -> None:
    """A class without weight has no finite intercept."""
    by_class = targets.by_class(weight)
    if np.count_nonzero(by_class) < 2:
        raise InputError("y has one class only among the rows of positive sample_weight: expected at least two classes")
    if not by_class.all():
        empty = plain(targets.classes[int(np.argmin(by_class))])
        raise InputError(f"class {empty!r} has no row of positive sample_weight: leave its rows out, or give it weight")


def training_data(X: Features, targets: Targets, weight: Array) -> dict[str, Any]:
    """Rows, weight and a fingerprint: SHA-256 of the shape, and of every k-th row, k such that some 10,000 are read."""
    n = X.shape[0]
    some = slice(None, None, max(1, n // HASHED_ROWS))
    rows = X[some]
    digest = hashlib.sha256(str(X.shape).encode())
    features = (rows.indptr, rows.indices, rows.data) if scipy.sparse.issparse(rows) else (rows,)
    others = (part[some] for part in (targets.codes, targets.share, weight) if part is not None)
    for part in (*features, *others):
        digest.update(np.ascontiguousarray(part).data)
    return {"rows": n, "weight": float(weight.sum()), "fingerprint": digest.hexdigest()}


def plain(label: Any) -> Label:
    value = label.item() if isinstance(label, np.generic) else label
    if not isinstance(value, str | int | float | bool):
        kind = type(value).__name__
        raise InputError(f"class {value!r} is of type {kind}: a model file holds text, numbers and truths as classes")
    return value
