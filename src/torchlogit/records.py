"""The frozen records that cross rooms. They hold data and no behaviour worth testing twice.

Only names are imported from torch here, so that a model file can be read without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


class ColumnKind(StrEnum):
    """How a column of a table is understood."""

    NUMERIC = "numeric"
    BOOLEAN = "boolean"
    CATEGORICAL = "categorical"
    HASHED = "hashed"
    TEXT = "text"
    HASHED_TEXT = "hashed text"
    VECTOR = "vector"


@dataclass(frozen=True, slots=True)
class NumericColumn:
    """A column of numbers: encoded as (x - mean) / scale; a missing value becomes the mean.

    `kind` is NUMERIC, or BOOLEAN, whose true and false stay 1 and 0 (mean 0, scale 1, and `fill`,
    the share of true, in place of a missing value). `has_missing`: an indicator column follows.
    """

    name: str
    kind: ColumnKind
    mean: float
    scale: float
    fill: float
    has_missing: bool

    @property
    def feature_names(self) -> list[str]:
        return [self.name, f"{self.name}=NA"] if self.has_missing else [self.name]

    @property
    def units(self) -> list[float]:
        return [1 / self.scale] + [1.0] * self.has_missing

    @property
    def zero(self) -> list[float]:
        return [-self.mean / self.scale] + [0.0] * self.has_missing

    @property
    def filled(self) -> float:
        return self.fill if self.kind is ColumnKind.BOOLEAN else 1.0


@dataclass(frozen=True, slots=True)
class CategoricalColumn:
    """A column of levels, one-hot in the order of `levels`; `has_missing`: a level of its own for missing."""

    name: str
    levels: tuple[str, ...]
    has_missing: bool
    kind: ColumnKind = ColumnKind.CATEGORICAL

    @property
    def feature_names(self) -> list[str]:
        return [f"{self.name}={level}" for level in self.levels] + [f"{self.name}=NA"] * self.has_missing

    @property
    def units(self) -> list[float]:
        return [1.0] * (len(self.levels) + self.has_missing)

    @property
    def zero(self) -> list[float]:
        return [0.0] * (len(self.levels) + self.has_missing)

    @property
    def filled(self) -> float:
        return 1.0


@dataclass(frozen=True, slots=True)
class HashedColumn:
    """A column of levels, `n_levels` of them in training, each at a place that its hash says.

    It has no features of its own: all hashed columns share those at the end, 2^hash_bits of them.
    """

    name: str
    n_levels: int
    kind: ColumnKind = ColumnKind.HASHED

    @property
    def feature_names(self) -> list[str]:
        return []

    @property
    def units(self) -> list[float]:
        return []

    @property
    def zero(self) -> list[float]:
        return []

    @property
    def filled(self) -> float:
        return 1.0


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column of texts, as words in tf-idf: `counts` of the `n_texts` of training hold each of the `words`.

    `filled`: the words that a text holds, on average.
    """

    name: str
    words: tuple[str, ...]
    counts: tuple[int, ...]
    n_texts: int
    filled: float
    kind: ColumnKind = ColumnKind.TEXT

    @property
    def feature_names(self) -> list[str]:
        return [f"{self.name}={word}" for word in self.words]

    @property
    def units(self) -> list[float]:
        return [1.0] * len(self.words)

    @property
    def zero(self) -> list[float]:
        return [0.0] * len(self.words)


@dataclass(frozen=True, slots=True)
class HashedTextColumn:
    """A column of texts, as `TextColumn`, each word at a place that its hash says; `counts` are of the places."""

    name: str
    counts: tuple[int, ...]
    n_texts: int
    filled: float
    kind: ColumnKind = ColumnKind.HASHED_TEXT

    @property
    def feature_names(self) -> list[str]:
        return [f"{self.name}[{place}]" for place in range(len(self.counts))]

    @property
    def units(self) -> list[float]:
        return [1.0] * len(self.counts)

    @property
    def zero(self) -> list[float]:
        return [0.0] * len(self.counts)


@dataclass(frozen=True, slots=True)
class VectorColumn:
    """A column of sparse vectors, as they are: `size` features, numbered from `first`.

    `filled`: the entries that a vector holds, on average.
    """

    name: str
    first: int
    size: int
    filled: float
    kind: ColumnKind = ColumnKind.VECTOR

    @property
    def feature_names(self) -> list[str]:
        return [f"{self.name}{index}" for index in range(self.first, self.first + self.size)]

    @property
    def units(self) -> list[float]:
        return [1.0] * self.size

    @property
    def zero(self) -> list[float]:
        return [0.0] * self.size


class Column(Protocol):
    """What every kind of column tells about its features.

    feature_names. units: what one unit of the column, or a presence, adds to each. zero: each one's value where the
    number is 0, or nothing is present. filled: how many of them are not zero in a row, on average.
    """

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> ColumnKind: ...
    @property
    def feature_names(self) -> list[str]: ...
    @property
    def units(self) -> list[float]: ...
    @property
    def zero(self) -> list[float]: ...
    @property
    def filled(self) -> float: ...


@dataclass(frozen=True, slots=True)
class DroppedColumn:
    """A column that does not enter the design, and why, in one phrase."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Schema:
    """What an encoder learned: the columns in table order, and those it left out.

    crosses: the pairs of columns that a column A:B is made of. hash_bits: the hashed columns share 2^hash_bits
    features, which come last.
    """

    columns: tuple[Column, ...]
    dropped: tuple[DroppedColumn, ...] = ()
    crosses: tuple[tuple[str, str], ...] = ()
    hash_bits: int | None = None

    @property
    def hashed(self) -> tuple[HashedColumn, ...]:
        """The columns that share the hashed features."""
        return tuple(column for column in self.columns if isinstance(column, HashedColumn))

    @property
    def n_hashed(self) -> int:
        """The number of features that the hashed columns share."""
        return 2**self.hash_bits if self.hash_bits is not None and self.hashed else 0

    @property
    def feature_names(self) -> list[str]:
        """The names of all features, in order."""
        own = [name for column in self.columns for name in column.feature_names]
        return own + [f"hash[{place}]" for place in range(self.n_hashed)]

    @property
    def units(self) -> list[float]:
        """What one unit of a column, or a presence, adds to each feature."""
        return [unit for column in self.columns for unit in column.units] + [1.0] * self.n_hashed

    @property
    def zero(self) -> list[float]:
        """Each feature's value where every number is 0, and nothing is present."""
        return [value for column in self.columns for value in column.zero] + [0.0] * self.n_hashed

    @property
    def filled(self) -> float:
        """How many features are not zero in a row, on average."""
        return sum(column.filled for column in self.columns)


class Status(StrEnum):
    """How an answer ends (DESIGN: one word, the same in code, files and output)."""

    CERTIFIED = "certified"
    BUDGET = "budget"
    SEPARATED = "separated"
    UNCERTIFIABLE = "uncertifiable"
    DIVERGED = "diverged"


@dataclass(frozen=True, slots=True)
class Params:
    """A point: `coef` (n_features, n_outputs) and `intercept` (n_outputs,), float64.

    n_outputs is 1 for two classes (one logit) and K for K > 2 classes (softmax).
    """

    coef: torch.Tensor
    intercept: torch.Tensor


@dataclass(frozen=True, slots=True)
class Separation:
    """A proof that no finite minimum exists.

    `directions`: (feature, output, sign) of every coefficient that runs off to sign * infinity.
    `complete`: every row is classified with a margin; otherwise some rows stay on the boundary.
    """

    complete: bool
    directions: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Certificate:
    """How far F(w) is from its minimum: F(w) - min F <= bound, in nats (the scale of F); None: no bound.

    relative_bound = bound / F(w); standard_errors = sqrt(2 bound): to second order no coefficient is
    further than that many standard errors from its optimum. `message` says in one sentence what holds.
    """

    status: Status
    objective: float
    bound: float | None
    message: str
    separation: Separation | None = None

    @property
    def relative_bound(self) -> float | None:
        """bound / F(w), or None where there is no bound."""
        if self.bound is None:
            return None
        return self.bound / self.objective if self.objective > 0 else (0.0 if self.bound == 0 else float("inf"))

    @property
    def standard_errors(self) -> float | None:
        """sqrt(2 bound), or None where there is no bound."""
        return None if self.bound is None else float((2.0 * self.bound) ** 0.5)


Snapshot = Mapping[str, Any]  # all that moves in a solver: tensors, numbers, text, None, in lists and mappings by name


@dataclass(frozen=True, slots=True)
class State:
    """What a solver yields after each step.

    params: the point reached. passes: readings of all rows so far (one product with X and one with X').
    objective: F there, in nats. expected_gap: the solver's own guess of F - min F, None if it has none.
    raw: the raw prediction there, where the solver has it at hand, (n, n_outputs). dual_residual: where the step
    solved the Newton equation of all rows, the dual point that it hands over, (n, n_outputs), or the dual point that a
    dual method is at. expected_bound: what that dual point should prove, where the solver knows. snapshot: gives what
    the solver goes on from, to the same bits, by reference; like raw, it is of this state until the next is asked for.
    """

    params: Params
    passes: float
    objective: float
    expected_gap: float | None = None
    raw: torch.Tensor | None = field(default=None, repr=False)
    dual_residual: torch.Tensor | None = field(default=None, repr=False)
    expected_bound: float | None = None
    snapshot: Callable[[], Snapshot] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the history: objective and bound in nats, passes over the rows and seconds since the start."""

    passes: float
    seconds: float
    objective: float
    bound: float | None


@dataclass(frozen=True, slots=True)
class FitProgress:
    """What a monitor of a fit is shown after each step: the step, and the parameters that it reached."""

    step: Step
    params: Params


Shown = TypeVar("Shown", contravariant=True)


class Monitor(Protocol[Shown]):
    """Called after each step of a fit (with a `FitProgress`) or each block of a stream (with a `StreamProgress`)."""

    def __call__(self, progress: Shown, /) -> bool | None:
        """True to ask for the end: the answer so far is then returned."""
        ...


@dataclass(frozen=True, slots=True)
class FitResult:
    """The answer: where it is, how far from the optimum, and how it was reached."""

    params: Params
    certificate: Certificate
    history: tuple[Step, ...]

    @property
    def passes(self) -> float:
        """Passes over the rows, in all."""
        return self.history[-1].passes if self.history else 0.0

    @property
    def seconds(self) -> float:
        """Seconds, in all."""
        return self.history[-1].seconds if self.history else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class StreamState:
    """All that it takes to go on learning from a stream: facts, JSON values, and arrays by name, float64."""

    facts: dict[str, Any]
    arrays: dict[str, NDArray[np.float64]]
