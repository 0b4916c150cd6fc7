"""L2Choice: how l2 is to be chosen; choose: fits the path and chooses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from torchlogit.errors import InputError
from torchlogit.objective import Objective
from torchlogit.path.curve import By, PenaltyPath
from torchlogit.path.measures import Folds, LeaveOneOut, Measure, Validation
from torchlogit.path.trace import MAX_HESSIAN, trace


@dataclass(frozen=True, slots=True)
class L2Choice:
    """How the data choose l2, with more options than l2="auto", which stands for L2Choice().

    Parameters
    ----------
    l2s : tuple of float, optional
        The penalties to choose from. By default a coarse grid computed from the data, then a fine one around its best.
    by : {"alo", "cv", "validation"}, optional
        How the loss on new rows is estimated: "alo" leaves out each row, approximately; "cv" leaves out folds;
        "validation" takes the rows of eval_set. By default "validation" where there are such rows, "alo" for up to
        2,500 coefficients, and otherwise "cv".
    one_standard_error : bool
        Choose the largest l2 whose loss is within a standard error of the least.
    cv : int or splitter
        The number of folds, or a splitter of scikit-learn whose test sets are folds.
    eval_set : tuple, optional
        (X, y) or (X, y, sample_weight): the validation rows. By default the eval_set given to fit.
    on_path : callable, optional
        Called with the `PenaltyPath`.

    Examples
    --------
    >>> L2Choice(l2s=(0.1, 1.0, 10.0), by="cv").cv
    5
    """

    l2s: tuple[float, ...] | None = None
    by: By | None = None
    one_standard_error: bool = False
    cv: Any = 5
    eval_set: tuple[Any, ...] | None = None
    on_path: Callable[[PenaltyPath], None] | None = None


def choose(
    objective: Objective,
    choice: L2Choice,
    *,
    observation_weight: Tensor,
    folds: Callable[[], Tensor],
    validation: Objective | None,
    seed: int = 0,
) -> PenaltyPath:
    """Fit the path that a choice asks for and choose l2 on it.

    Parameters
    ----------
    observation_weight : (n,)
        The part of each row's weight that counts as one observation; leave-one-out leaves out this part.
    folds : callable
        Returns the fold of each row, (n,), from 0, and -1 for a row of none; called only where folds are used.
    validation : Objective, optional
        The validation rows.
    seed : int
        Seed of the samples of rows.

    Raises
    ------
    InputError
        If the choice cannot be made: no positive l2s, no validation rows, too many coefficients, l1 or bounds.
    """
    l2s = None if choice.l2s is None else [float(l2) for l2 in choice.l2s]
    if l2s is not None and (not l2s or any(not 0 < l2 < float("inf") for l2 in l2s)):
        raise InputError(f"l2s={choice.l2s!r}: expected positive finite numbers to choose from, or None for a grid")
    measure = _measure(objective, choice, folds, validation)
    one_standard_error = choice.one_standard_error
    path = trace(objective, measure, observation_weight, l2s=l2s, one_standard_error=one_standard_error, seed=seed)
    if choice.on_path is not None:
        choice.on_path(path)
    return path


def _measure(
    objective: Objective, choice: L2Choice, folds: Callable[[], Tensor], validation: Objective | None
) -> Measure:
    """The measure that is asked for, or the default for these rows."""
    affordable = objective.n_parameters <= MAX_HESSIAN
    by = choice.by or ("validation" if validation is not None else "alo" if affordable else "cv")
    if by == "validation":
        if validation is None:
            raise InputError("l2 by validation: give the rows, as in fit(X, y, eval_set=(X_valid, y_valid))")
        return Validation(validation)
    if by == "cv":
        return Folds(folds())
    if by != "alo":
        raise InputError(f"L2Choice(by={by!r}): expected 'alo', 'cv' or 'validation'")
    if not affordable:
        raise InputError(
            f"{objective.n_parameters:,} coefficients are too many for leave-one-out, which forms a Hessian (at most "
            f"{MAX_HESSIAN:,}); choose by 'cv', or by 'validation' with an eval_set"
        )
    return LeaveOneOut()
