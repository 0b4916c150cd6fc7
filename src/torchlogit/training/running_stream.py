"""RunningStream: a stream that can learn from further rows, in this process or after it was saved and loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchlogit.data.targets import ClassWeight
from torchlogit.errors import InputError
from torchlogit.records import StreamState
from torchlogit.streaming.newton import StreamingNewton
from torchlogit.streaming.scale_free import ScaleFree
from torchlogit.streaming.stream import Stream
from torchlogit.training.rows import Array
from torchlogit.training.settings import OnePassSolver

SOLVERS: dict[str, type[StreamingNewton | ScaleFree]] = {"StreamingNewton": StreamingNewton, "ScaleFree": ScaleFree}


@dataclass(frozen=True, slots=True, eq=False)
class RunningStream:
    """A stream and the solver that began it. counts (n_classes,): the number of rows of each class so far."""

    solver: OnePassSolver
    stream: Stream
    counts: Array

    @classmethod
    def resume(cls, state: StreamState) -> RunningStream:
        """The stream that continues from its record."""
        kind = SOLVERS.get(state.facts.get("learner", ""))
        if kind is None:
            raise InputError(f"learner {state.facts.get('learner')!r}: expected one of {', '.join(SOLVERS)}")
        solver = kind(**{name: tuple(state.facts[name]) for name in kind.__dataclass_fields__})
        return cls(solver, solver.resume(state), state.arrays["class_counts"].copy())

    def record(self) -> StreamState:
        """A copy of the state, from which `resume` continues."""
        state = self.stream.record()
        return StreamState(state.facts, {**state.arrays, "class_counts": self.counts.copy()})

    def class_weights(self, class_weight: ClassWeight, classes: NDArray[Any], codes: NDArray[np.integer[Any]]) -> Array:
        """The class weight of each of the next rows, (n,); adds these rows to the counts.

        "balanced": n / (K n_k) for K classes, where n_k is 1 plus the number of rows of the row's class up to and
        including this row, and n is the sum of n_k over the classes.
        """
        counts = self.counts + np.cumsum(np.eye(len(classes))[codes], axis=0)
        own = counts[np.arange(len(codes)), codes]
        self.counts[:] = counts[-1]
        if class_weight is None:
            return np.ones(len(codes))
        if isinstance(class_weight, str):
            if class_weight != "balanced":
                raise InputError(f"class_weight={class_weight!r}: expected None, 'balanced' or a dict")
            return np.asarray((counts.sum(axis=1) + len(classes)) / (len(classes) * (own + 1)))
        by_class = [class_weight.get(label, 1.0) for label in classes.tolist()]
        return np.asarray(np.array(by_class)[codes])
