"""What streams that learn in one pass have in common: their start, their answer, and how they are put on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from torchlogit.errors import InputError
from torchlogit.losses import Loss
from torchlogit.penalties import ElasticNet
from torchlogit.records import Params, StreamState
from torchlogit.streaming.progressive import Progressive, ProgressiveSums

Array = NDArray[np.float64]
M = TypeVar("M")

SHARES = np.array([1e-3, 0.0])  # of the experts' weights, dealt out anew with every row; 0: one in as many as rows


@dataclass(frozen=True, slots=True)
class Start:
    """A model to go on from: its params, and the weight of the rows that they were fitted to."""

    params: Params
    weight: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a stream has found.

    excess: the log loss per unit of weight by which the answer is expected to miss the best linear model of what the
    rows come from, trace(H^-1 S) / (2 weight), in nats; None where a method cannot say. beliefs: of the experts.
    """

    params: Params
    progressive: Progressive
    excess: float | None
    beliefs: dict[str, float]


class Stream(Protocol):
    """Learning under way."""

    @property
    def rows(self) -> int:
        """Rows given so far."""
        ...

    def learn(self, X: Any, target: Array, weight: Array | None = None, offset: Array | None = None) -> None:
        """Learns from rows; how a table is cut up does not change a bit of what comes out."""
        ...

    def answer(self) -> Answer:
        """Where it is; it does not move."""
        ...

    def record(self) -> StreamState:
        """All that it takes to go on, copied."""
        ...


def refuse_kinks(penalty: ElasticNet) -> None:
    """InputError for a penalty that rows read once cannot be held to."""
    if not penalty.smooth:
        raise InputError("l1 or bounds: learning in one pass takes l2 alone; set l1=0, or fit without streaming")


def beliefs(names: Sequence[str], by: Array) -> dict[str, float]:
    """The experts' weights by name."""
    return dict(zip(names, by.tolist(), strict=True))


def setting_facts(experts: Any, loss: Loss, intercept: bool) -> dict[str, Any]:
    """The facts of a learner's setting, as JSON values."""
    n_classes = 2 if loss.n_outputs == 1 else loss.n_outputs
    own = {name: list(values) for name, values in asdict(experts).items()}
    return {"learner": type(experts).__name__, **own, "n_classes": n_classes, "intercept": intercept}


def arrays_of(moving: Any) -> dict[str, Array]:
    """The arrays of what moves, copied, by name; those of the progressive sums among them."""
    own = {f.name: getattr(moving, f.name) for f in fields(moving) if f.name != "progressive"}
    sums = {f"progressive_{f.name}": getattr(moving.progressive, f.name) for f in fields(ProgressiveSums)}
    return {name: array.copy() for name, array in (own | sums).items()}


def moving_of(arrays: dict[str, Array], at_rest: M, waiting: Sequence[str]) -> M:
    """What moves, taken from rest to these arrays; InputError where their shapes are not those that it has at rest.

    waiting: of these the number of rows may be any.
    """
    expected = arrays_of(at_rest)
    for name, array in expected.items():
        found = arrays.get(name)
        same = found is not None and found.shape[name in waiting :] == array.shape[name in waiting :]
        if not same or found is None or found.ndim != array.ndim:
            raise InputError(f"the stream's record holds no {name} of shape {array.shape}: it is damaged; train anew")
    moving: Any = at_rest
    for f in fields(moving):
        if f.name != "progressive":
            setattr(moving, f.name, arrays[f.name].copy())
    moving.progressive = ProgressiveSums(*(arrays[f"progressive_{f.name}"].copy() for f in fields(ProgressiveSums)))
    return at_rest
