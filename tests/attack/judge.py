"""Fits a problem through the estimators, and judges what is claimed about it in exact arithmetic."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from mpmath import mp, mpf
from numpy.typing import NDArray

from attack.exact import BITS, Exact, Theta, exact
from attack.overlap import overlap
from attack.problems import Problem
from torchlogit import LogisticRegression, LogisticRegressionPath
from torchlogit.errors import TorchlogitError

if TYPE_CHECKING:
    from torchlogit.records import Relation

# Share of F + 1e-3, and of a logit (of 1, where it is smaller), that counts as rounding in what is printed.
SAME = mpf("1e-9")
EPS = mpf(2) ** -52
AGREE = 64 * EPS  # of columns that agree up to rounding, relative to the terms

SORTS = ("bound", "separation", "objective", "prediction", "parameters", "relation", "crash")
MISSED = "missed"  # not a false claim: the classes are separated, and nothing is claimed


@dataclass(frozen=True, slots=True)
class Fault:
    """A claim that does not hold: of which sort, one of SORTS or MISSED, and what is wrong."""

    sort: str
    text: str


@dataclass(frozen=True, slots=True)
class Claim:
    """What a fit says: status, F and its bound at coef (k, d) and intercept (k,), for this l2.

    relations: among the columns, taken as exact. logits (n, k): as predicted, or None.
    """

    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]
    status: str
    objective: float
    bound: float | None
    l2: float
    relations: tuple[Relation, ...] = ()
    logits: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with the claims about a problem.

    status: of the estimator; or the name of the error that refused the problem, or "crash". bound, gap: in nats, of the
    claim with the largest gap less its bound; None where none can be compared. undecided: whether a bound holds was
    neither shown nor refuted. seconds: of fitting, of this process.
    """

    problem: Problem
    status: str
    seconds: float
    bound: float | None = None
    gap: float | None = None
    faults: tuple[Fault, ...] = ()
    undecided: bool = False


def judged(problem: Problem) -> Verdict:
    """The verdict on the fit of this problem."""
    start = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            claims = _claims(problem)
    except TorchlogitError as error:
        return Verdict(problem, type(error).__name__, time.process_time() - start)
    except Exception as error:
        fault = Fault("crash", f"{type(error).__name__}: {str(error)[:80]}")
        return Verdict(problem, "crash", time.process_time() - start, faults=(fault,))
    seconds = time.process_time() - start
    with mp.workprec(BITS):
        judges = [_Judge(problem, claim) for claim in claims]
        faults = tuple(fault for judge in judges for fault in judge.faults())
    worst = max(judges, key=lambda judge: -np.inf if judge.gap is None else judge.gap - (judge.claim.bound or 0.0))
    undecided = any(judge.undecided for judge in judges)
    return Verdict(problem, claims[0].status, seconds, worst.claim.bound, worst.gap, faults, undecided)


def _claims(problem: Problem) -> list[Claim]:
    """The claim about the estimator's own answer, then those about the points of a path."""
    given = {"sample_weight": problem.weight, "offset": problem.offset}
    estimator = LogisticRegressionPath if "l2s" in problem.settings else LogisticRegression
    model = estimator(**problem.settings)
    if problem.settings.get("warm_start"):
        model.fit(problem.rows, problem.y[::-1].copy(), **given)
    watched = {"eval_set": (problem.rows[::2], problem.y[::2])} if problem.watched else {}
    model.fit(problem.rows, problem.y, **given, **watched)
    certificate = model.certificate_
    logits = np.asarray(model.decision_function(problem.rows)).reshape(len(problem.X), -1)
    own = Claim(
        model.coef_, model.intercept_, str(certificate.status), certificate.objective, certificate.bound, model.l2_,
        getattr(certificate, "collinear", ()), logits,
    )  # fmt: skip
    if not isinstance(model, LogisticRegressionPath):
        return [own]
    points = zip(model.coefs_, model.intercepts_, model.path_, strict=True)
    return [own, *(Claim(w, b, "path", point.objective, point.bound, point.l2) for w, b, point in points)]


class _Judge:
    """The checks of one claim. gap, undecided: as in `Verdict`, once the faults have been found."""

    def __init__(self, problem: Problem, claim: Claim) -> None:
        self.problem, self.claim = problem, claim
        self.gap: float | None = None
        self.undecided = False
        settings, d = problem.settings, problem.X.shape[1]
        factors = [exact(v) for v in np.broadcast_to(settings.get("penalty_factors", 1.0), d)]
        self.intercept = settings.get("fit_intercept", True)
        lower, upper = settings.get("bounds") or (None, None)
        self.lower = np.broadcast_to(-np.inf if lower is None else lower, d).astype(float)
        self.upper = np.broadcast_to(np.inf if upper is None else upper, d).astype(float)
        n, target = len(problem.X), problem.target
        self.exact = Exact(
            problem.X.astype(float),
            target,
            np.ones(n) if problem.weight is None else problem.weight,
            np.zeros(target.shape) if problem.offset is None else problem.offset.reshape(target.shape),
            intercept=self.intercept,
            l2=[exact(claim.l2) * f for f in factors],
            l1=[exact(settings.get("l1", 0.0)) * f for f in factors],
            lower=self.lower,
            upper=self.upper,
        )
        self.certified = claim.status == "certified"

    def faults(self) -> list[Fault]:
        """All that is wrong."""
        claim = self.claim
        if not (np.isfinite(claim.coef).all() and np.isfinite(claim.intercept).all()):
            return [] if claim.status == "diverged" else [Fault("parameters", "they are not finite")]
        theta = [[exact(v) for v in row] for row in claim.coef]
        if self.intercept:
            theta = [[*row, exact(b)] for row, b in zip(theta, claim.intercept, strict=True)]
        value = self.exact.value(theta)
        found = [*self._within(theta), *self._reported(theta, value), *self._relations(), *self._separation()]
        if claim.logits is not None:
            found += self._predictions(theta, claim.logits)
        if claim.bound is not None:
            found += self._bound(theta, value, exact(claim.bound))
        elif self.certified:
            found.append(Fault("bound", "there is none, and the status is certified"))
        return found

    def _within(self, theta: Theta) -> list[Fault]:
        """The bounds of the coefficients."""
        ends = self.exact.lower, self.exact.upper
        inside = all(a <= v <= b for own in theta for v, a, b in zip(own, *ends, strict=True))
        return [] if inside else [Fault("parameters", "one is out of bounds")]

    def _bound(self, theta: Theta, value: mpf, bound: mpf) -> list[Fault]:
        """F at the parameters returned, less F at the best point, against the bound."""
        if not mp.isfinite(bound) or bound < 0:
            return [Fault("bound", f"it is {self.claim.bound}")]
        if bound >= value:
            return []
        dropped = [relation.column for relation in self.claim.relations]
        best, left = self.exact.lower_value(self._without(theta), dropped, value - bound)
        self.gap = float(value - best)
        if value - best > bound:
            return [Fault("bound", f"{self.claim.status}: it is {float(bound):.3g}, the gap {self.gap:.3g}")]
        self.undecided = not best - 2 * left > value - bound
        return []

    def _without(self, theta: Theta) -> Theta:
        """The point with the coefficients of related columns carried over to those that they are combinations of."""
        theta = [list(own) for own in theta]
        for relation in self.claim.relations:
            for own in theta:
                v, own[relation.column] = own[relation.column], mpf(0)
                for j, factor in relation.others:
                    own[j] += v * exact(factor)
        return theta

    def _relations(self) -> list[Fault]:
        """Whether columns that are taken as equal are."""
        relations, d = self.claim.relations, self.problem.X.shape[1]
        if not self.intercept and any(r.column == d or any(j == d for j, _ in r.others) for r in relations):
            return [Fault("relation", "it holds an intercept that does not exist")]
        found = []
        for relation in relations:
            for row in self.exact.rows:
                terms = [row[relation.column], *(-exact(factor) * row[j] for j, factor in relation.others)]
                if abs(mp.fsum(terms)) > AGREE * mp.fsum(map(abs, terms)):
                    found.append(Fault("relation", f"it does not hold: {relation}"))
                    break
        return found

    def _reported(self, theta: Theta, value: mpf) -> list[Fault]:
        """The objective that is reported, against F at the parameters returned."""
        reported = self.claim.objective
        if not np.isfinite(reported):
            as_it_is = np.isposinf(reported) and value > mpf(np.finfo(float).max) / 2
            as_it_is &= not self.certified and self.claim.bound is None
            return [] if as_it_is else [Fault("objective", f"it is said to be {reported}, and is {mp.nstr(value, 9)}")]
        slack = SAME * (value + mpf(1) / 1000) + exact(self.claim.bound or 0)
        slack += 2 * mp.fdot(zip(self.exact.weight, self._rounding(theta), strict=True))  # of two classes' logits
        if abs(exact(reported) - value) <= slack:
            return []
        return [Fault("objective", f"it is said to be {reported:.12g}, and is {mp.nstr(value, 12)}")]

    def _rounding(self, theta: Theta) -> list[mpf]:
        """The rounding error of each row's logits in float64, where columns are centred at the first row."""
        first, offsets = self.exact.rows[0], zip(*self.exact.offset, strict=True)
        return [
            8 * EPS * max(
                abs(o) + mp.fsum(abs(w) * abs(a - b) for w, a, b in zip(own, row, first, strict=True))
                for own, o in zip(theta, offset, strict=True)
            )
            for row, offset in zip(self.exact.rows, offsets, strict=True)
        ]  # fmt: skip

    def _predictions(self, theta: Theta, logits: NDArray[Any]) -> list[Fault]:
        """decision_function on the rows of positive weight, against the returned parameters."""
        worst, kept = mpf(0), self._kept()
        for row, printed, rounding in zip(self.exact.rows, logits[kept], self._rounding(theta), strict=True):
            for own, shown in zip(theta, printed, strict=True):
                z = mp.fdot(zip(row, own, strict=True))
                off = abs(z - exact(shown)) if np.isfinite(shown) else mp.inf
                worst = max(worst, (off - rounding) / max(mpf(1), abs(z)))
        return [Fault("prediction", f"the logit is {float(worst):.2g} off")] if worst > SAME else []

    def _kept(self) -> Any:
        """The rows of positive weight."""
        return slice(None) if self.problem.weight is None else self.problem.weight > 0

    def _separation(self) -> list[Fault]:
        """What is claimed about a finite minimum, against exact linear programming."""
        status, claims = self.claim.status, self.certified or self.claim.bound is not None
        dropped = {relation.column for relation in self.claim.relations}
        free = [j for j in range(self.problem.X.shape[1]) if not self.exact.l1[j] and not self.exact.l2[j]]
        free = [j for j in free if j not in dropped and not np.isfinite([self.lower[j], self.upper[j]]).all()]
        if not free and status != "separated":
            return []
        X = self.problem.X.astype(float)[:, free]
        signs = np.where(np.isfinite(self.lower[free]), 1, np.where(np.isfinite(self.upper[free]), -1, 0))
        if self.intercept and self.problem.X.shape[1] not in dropped:
            X, signs = np.column_stack([X, np.ones(len(X))]), np.append(signs, 0)
        kept = self._kept()
        overlapping = overlap(X[kept], self.problem.target[kept], signs)
        if status == "separated" and overlapping:
            return [Fault("separation", "it is claimed, and the classes overlap")]
        if claims and not overlapping:
            return [Fault("separation", f"a bound of {self.claim.bound}, and the classes are separated")]
        return [Fault(MISSED, status)] if not overlapping and status in ("uncertifiable", "budget") else []
