"""X and y, as scikit-learn hands them over, made into an objective."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight

from torchlogit.data.encoded_rows import EncodedRows, ReadAnew
from torchlogit.data.targets import ClassWeight, Targets
from torchlogit.design import Dense, DesignMatrix, Sparse, Streamed, as_csr
from torchlogit.errors import InputError
from torchlogit.losses import loss_for
from torchlogit.model import Label
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.storage import IN_MEMORY, Storage

Array = NDArray[np.float64]
Features = Any  # a matrix: NDArray, scipy.sparse.csr_array, columns ascending and none twice, or a tensor elsewhere
PART = 1 << 16  # rows
HASHED_ROWS = 10_000  # in a fingerprint: hashing all of X can take longer than the fit


def canonical(X: Any) -> Features:
    return as_csr(X) if scipy.sparse.issparse(X) else X


@dataclass(frozen=True, slots=True)
class Rows:
    """What is fitted or measured: features (n, n_features), targets and weights (n,), and offsets where there are.

    counts: the weights but for the classes' own: a row of weight 3 counts as three.
    """

    features: Features
    targets: Targets
    weight: Array
    counts: Array
    offset: ArrayLike | None = None

    @classmethod
    def of(
        cls, features: Features, targets: Targets, counts: Array, offset: ArrayLike | None, *, class_weight: ClassWeight
    ) -> Rows:
        """The rows, each weighted by its class's own weight, too; InputError where a class is left with none."""
        targets, weight = targets.class_weighted(counts, class_weight)
        refuse_weightless(targets, weight)
        return cls(features, targets, weight, counts, offset)

    def objective(
        self, penalty: ElasticNet, intercept: bool, device: torch.device, storage: Storage = IN_MEMORY
    ) -> Objective:
        """F of these rows, the features taken as they are."""
        loss = loss_for(len(self.targets.classes))
        offset = None if self.offset is None else offset_of(self.offset, self.features.shape[0], loss.n_outputs)
        return Objective.of(
            _design(self.features, intercept, device),
            torch.from_numpy(self.target(loss.n_outputs, storage)).to(device),
            loss=loss,
            penalty=penalty,
            weight=None if (self.weight == 1).all() else _tensor(self.weight),
            offset=None if offset is None else torch.from_numpy(offset),
            storage=storage,
        )

    def target(self, n_outputs: int, storage: Storage = IN_MEMORY) -> Array:
        """The target probabilities, (n, n_outputs)."""
        if self.targets.codes is not None:
            return hard_targets(self.targets.codes, n_outputs, storage)
        assert self.targets.share is not None
        return self.targets.share[:, 1:] if n_outputs == 1 else self.targets.share

    def moved(self, center: Array) -> Rows:
        """The rows, by so much less in every column."""
        return replace(self, features=centered(self.features, center)) if center.any() else self

    def centred(
        self, penalty: ElasticNet, intercept: bool, device: torch.device, storage: Storage = IN_MEMORY
    ) -> Problem:
        """F of these rows, columns far from zero having been centred."""
        objective = self.objective(penalty, intercept, device, storage)
        center = center_of(objective, self.features)
        if center.any():
            objective = self.moved(center).objective(penalty, intercept, device, storage)
        return Problem(self, objective, center)


def table_rows(rows: EncodedRows, n_classes: int, class_weight: ClassWeight) -> Rows:
    """The rows of a table, already encoded; their classes are 0, 1, ... here."""
    counts: Array = np.broadcast_to(1.0, len(rows)) if rows.weight is None else rows.weight
    targets = Targets(np.arange(n_classes), rows.codes, None)
    return Rows.of(rows.features, targets, counts, None, class_weight=class_weight)


@dataclass(frozen=True, slots=True)
class Problem:
    """F of some rows, and by how much each column has been moved, (n_features,)."""

    rows: Rows
    objective: Objective
    center: Array

    def beside(self, others: Rows) -> Objective:
        """The objective of other rows, their columns moved as these."""
        objective = self.objective
        return others.moved(self.center).objective(
            ElasticNet(), objective.design.has_intercept, objective.target.device
        )


def torch_device(name: str | torch.device, own: str | torch.device = "cpu") -> torch.device:
    """The device of this name, `own` for "auto"; InputError where it cannot be computed on."""
    try:
        device = torch.device(own if name == "auto" else name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device={name!r}: cannot compute there ({reason}); use 'auto' or 'cpu'") from None
    return device


def hard_targets(codes: NDArray[np.integer[Any]], n_outputs: int, storage: Storage = IN_MEMORY) -> Array:
    """The target probabilities of these classes, (n, n_outputs), 0 and 1, a part at a time."""
    target: Array = storage.empty((len(codes), n_outputs), np.float64)
    for start in range(0, len(codes), PART):
        part = codes[start : start + PART]
        target[start : start + PART] = part[:, None] == (np.arange(n_outputs) if n_outputs > 1 else 1)
    return target


def weights(sample_weight: Any, n: int) -> Array:
    """The weight of each of n rows, (n,), checked; ones where there are none."""
    ones: Array = np.broadcast_to(1.0, n)
    if sample_weight is None:
        return ones
    checked: Array = _check_sample_weight(sample_weight, ones, dtype=np.float64, ensure_non_negative=True)
    return checked


def _design(X: Features, intercept: bool, device: torch.device) -> DesignMatrix:
    if isinstance(X, ReadAnew):
        return Streamed.of(X.read, intercept=intercept)
    if not scipy.sparse.issparse(X):
        return Dense.of((X if isinstance(X, torch.Tensor) else _tensor(X)).to(device), intercept=intercept)
    if device.type != "cpu":
        raise InputError(f"device={str(device)!r}: X is sparse, which only the CPU takes; use 'auto', or X.toarray()")
    return Sparse.of(X, intercept=intercept)


def offset_of(offset: ArrayLike, n: int, n_outputs: int) -> Array:
    """A fixed addition to every row's raw prediction, (n, n_outputs), from (n,) for two classes or (n, n_classes)."""
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
    if not objective.design.has_intercept or isinstance(X, ReadAnew):  # an encoded table has no columns far from zero
        return np.zeros(X.shape[1])
    sums, squares = (part[:-1] / objective.total_weight for part in objective.moments)
    far = squares - sums.square() < 1e-8 * squares
    center: Array = torch.where(far, sums, torch.zeros_like(sums)).cpu().numpy()
    if scipy.sparse.issparse(X) and center.any():
        center[np.bincount(X.indices, minlength=len(center)) < X.shape[0]] = 0
    return center


def centered(X: Features, center: Array) -> Features:
    """X - center, which is zero where a sparse X does not store every value."""
    if isinstance(X, torch.Tensor):
        return X.to(torch.float64) - torch.from_numpy(center).to(X.device)
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
    if isinstance(rows, torch.Tensor):
        rows = rows.cpu().numpy()
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
