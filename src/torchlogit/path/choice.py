"""How l2 is chosen: what is asked for, and what that comes to for a table at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from torchlogit.errors import InputError
from torchlogit.objective import Objective
from torchlogit.path.curve import By, PenaltyPath
from torchlogit.path.measures import Folds, LeaveOneOut, Measure, Validation
from torchlogit.path.trace import MOST, parameters, trace


@dataclass(frozen=True, slots=True)
class L2Choice:
    """What l2 may be, and what chooses it: LogisticRegression(l2=L2Choice(...)) says more than l2="auto", its default.

    l2s: the penalties to choose from; None for a coarse grid that the data suggest, and a fine one about its best.
    by: "alo" (leaving each row out, approximately), "cv" (folds) or "validation" (the rows of eval_set); None for the
    first of "validation", "alo", "cv" that can be had, "alo" being for at most 2,500 coefficients.
    one_standard_error: the largest l2 whose loss is within a standard error of the least. cv: the number of folds, or a
    splitter of scikit-learn whose test sets are folds. eval_set: (X, y) or (X, y, sample_weight) to validate on; None:
    those that fit is given. on_path: is handed the path.

    >>> L2Choice(l2s=(0.1, 1.0, 10.0), by="cv").cv
    5
    """

    l2s: tuple[float, ...] | None = None
    by: By | None = None
    one_standard_error: bool = False
    cv: Any = 5
    eval_set: tuple[Any, ...] | None = None
    on_path: Callable[[PenaltyPath], None] | None = None

    def validation(self, given: tuple[Any, ...] | None) -> Any:
        """The rows that choose: its own, or else those given to fit; None where something else is to choose."""
        if self.by not in (None, "validation"):
            return None
        return given if self.eval_set is None else self.eval_set


def choose(
    objective: Objective,
    choice: L2Choice,
    *,
    unit: Tensor,
    folds: Callable[[], Tensor],
    validation: Objective | None,
    seed: int = 0,
) -> PenaltyPath:
    """The path, and the place on it that is chosen.

    unit (n,): of a row's weight, what counts as one observation: it is left out by itself.
    folds: makes the fold of every row, (n,), from 0, -1 for a row of none. validation: the rows to validate on.
    """
    l2s = None if choice.l2s is None else [float(l2) for l2 in choice.l2s]
    if l2s is not None and (not l2s or any(not 0 < l2 < float("inf") for l2 in l2s)):
        raise InputError(f"l2s={choice.l2s!r}: expected positive finite numbers to choose from, or None for a grid")
    measure = _measure(objective, choice, folds, validation)
    path = trace(objective, measure, unit, l2s=l2s, one_standard_error=choice.one_standard_error, seed=seed)
    if choice.on_path is not None:
        choice.on_path(path)
    return path


def _measure(
    objective: Objective, choice: L2Choice, folds: Callable[[], Tensor], validation: Objective | None
) -> Measure:
    affordable = parameters(objective) <= MOST
    by = choice.by or ("validation" if validation is not None else "alo" if affordable else "cv")
    if by == "validation":
        if validation is None:
            raise InputError("l2 is to be chosen by validation: give the rows, fit(X, y, eval_set=(X_valid, y_valid))")
        return Validation(validation)
    if by == "cv":
        return Folds(folds())
    if by != "alo":
        raise InputError(f"l2 is to be chosen by {by!r}: expected 'alo', 'cv' or 'validation'")
    if not affordable:
        raise InputError(
            f"leaving rows out takes a Hessian, which {parameters(objective):,} coefficients are too many for "
            f"(at most {MOST:,}); choose by 'cv', or by 'validation' with an eval_set"
        )
    return LeaveOneOut()
