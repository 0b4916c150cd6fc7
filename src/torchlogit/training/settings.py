"""Settings: all options of a fit, without its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import ArrayLike

from torchlogit.data.targets import ClassWeight
from torchlogit.errors import InputError
from torchlogit.fit import Goal
from torchlogit.inference import CLOSE
from torchlogit.objective import Objective
from torchlogit.path import L2Choice
from torchlogit.penalties import ElasticNet
from torchlogit.records import StreamState
from torchlogit.solvers import Solver
from torchlogit.solvers.choice import BY_NAME
from torchlogit.streaming.stream import Start, Stream

Bounds = tuple[ArrayLike | None, ArrayLike | None]
STREAMING = "streaming"  # the name of the solver that reads every row once
SOLVERS = (*BY_NAME, STREAMING)


@runtime_checkable
class OnePassSolver(Protocol):
    """A solver that reads every row once: StreamingNewton or ScaleFree, which are imported where they are used."""

    def begin(
        self,
        n_features: int,
        n_classes: int,
        penalty: ElasticNet,
        *,
        intercept: bool = True,
        start: Start | None = None,
    ) -> Stream:
        """A new stream, which begins from the coefficients of `start`, if given."""
        ...

    def resume(self, state: StreamState) -> Stream:
        """The stream that continues from its record."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Settings:
    """The settings of a fit; `LogisticRegression` explains each.

    l2: a number, or "auto" or an L2Choice to choose it from the data. solver: a name in SOLVERS, or a solver. max_iter:
    the most passes over the rows. time_budget: seconds. penalty_factors and bounds: arrays (n_features,), or one number
    for all columns. device: "auto" for the device of the rows. seed: seeds the solver's samples and the folds that l2
    is chosen by. verbose: whether a line on standard error shows the progress.
    """

    l1: float = 0.0
    l2: float | Literal["auto"] | L2Choice = 1.0
    fit_intercept: bool = True
    solver: str | Solver | OnePassSolver = "auto"
    tol: float = 1e-6
    max_iter: float = 200
    time_budget: float | None = None
    class_weight: ClassWeight = None
    penalty_factors: ArrayLike | None = None
    bounds: Bounds | None = None
    device: str | torch.device = "auto"
    seed: int = 0
    verbose: bool = False

    @property
    def one_pass(self) -> bool:
        """Whether the solver reads every row once."""
        if isinstance(self.solver, str | type):
            return self.solver == STREAMING
        return isinstance(self.solver, OnePassSolver)

    def penalty(self, n_features: int, l2: float) -> ElasticNet:
        """The penalty on n_features columns with this l2; InputError for factors or bounds of another shape."""
        lower, upper = self.bounds if self.bounds is not None else (None, None)
        return ElasticNet(
            float(self.l1),
            l2,
            _by_column("penalty_factors", self.penalty_factors, n_features),
            _by_column("bounds, lower", lower, n_features),
            _by_column("bounds, upper", upper, n_features),
        )

    def goal(self) -> Goal:
        """The goal and the budgets of the fit; InputError for numbers that are not positive.

        Without a penalty, coefficients are interpreted with their standard errors. Then the answer must also be within
        `CLOSE` standard errors of the optimum.
        """
        for name in ("tol", "max_iter", "time_budget"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name}={value}: expected a positive number")
        unpenalised = self.l1 == 0 and self.l2 == 0 and self.bounds is None
        errors = CLOSE if unpenalised else None
        return Goal(self.tol, standard_errors=errors, max_iter=self.max_iter, time_budget=self.time_budget)

    def solver_for(self, objective: Objective) -> Solver:
        """The solver object; for a name, the solver of that name that suits the objective."""
        if not isinstance(self.solver, str):
            if isinstance(self.solver, type | OnePassSolver) or not hasattr(self.solver, "iterates"):
                raise InputError(f"solver={self.solver!r}: expected a name or a solver object, such as SGD(...)")
            return self.solver
        if self.solver not in BY_NAME:
            raise InputError(f"solver={self.solver!r}: expected one of {', '.join(SOLVERS)}, or a solver object")
        return BY_NAME[self.solver](objective, self.seed, self.tol)

    def device_for(self, features: Any) -> torch.device:
        """The device to compute on; InputError where torch cannot compute on it."""
        own = features.device if isinstance(features, torch.Tensor) else "cpu"
        try:
            device = torch.device(own if self.device == "auto" else self.device)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"device={self.device!r}: cannot compute there ({reason}); use 'auto' or 'cpu'") from None
        return device


def _by_column(name: str, values: ArrayLike | None, n_features: int) -> torch.Tensor | None:
    """One number per column, (n_features,), from an array or one number for all columns; None for None."""
    if values is None:
        return None
    array = np.asarray(values, dtype=np.float64)
    if array.ndim > 1 or (array.ndim == 1 and len(array) != n_features):
        raise InputError(f"{name} has shape {array.shape}: expected one number, or {n_features}, one for each column")
    return torch.from_numpy(np.broadcast_to(array, (n_features,)).copy())
