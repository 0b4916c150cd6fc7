"""A model as text: how it was fitted, what is proven about it, and its coefficients in the table's own units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from torchlogit.model import Coefficient, LogisticModel

Array = NDArray[np.float64]

MAX_SHOWN = 500  # the most coefficients that are shown
MAX_RELATIONS, MAX_TERMS = 3, 4  # the most relations among columns that a line shows, and the most terms of each
NEGLIGIBLE = 1e-6  # a constant of at most this share of the terms that it is the sum of is rounding, and not shown
FAR_NEGLIGIBLE = 1e-11  # the same, as a share of the center of the column
UNDETERMINED = "the data determine only combinations of their coefficients: those shown are one choice of many"


def summary(model: LogisticModel, *, elsewhere: str) -> str:
    """The facts of the fit, then one line per coefficient; if there are more than MAX_SHOWN, only the largest.

    Coefficients that go to infinity, since they separate the classes, are shown as inf or -inf.

    Where columns are collinear, a second table has the differences between coefficients that the data determine.

    elsewhere: who has all coefficients, as the beginning of a sentence that ends in "them all", such as "coef_ holds".
    """
    intercepts, coefficients = _with_infinite(model)
    shown, more = coefficients, ""
    if len(coefficients) > MAX_SHOWN:
        shown = sorted(coefficients, key=lambda line: abs(line.value), reverse=True)[:MAX_SHOWN]
        more = f"\n... the largest {MAX_SHOWN} of {len(coefficients):,} coefficients; {elsewhere} them all"
    contrasts = model.contrasts()
    second = f"\n\n{_table(model, contrasts[:MAX_SHOWN], 'difference')}" if contrasts else ""
    return f"{_facts(model)}\n\n{_table(model, [*intercepts, *shown], 'feature')}{more}{second}"


def _with_infinite(model: LogisticModel) -> tuple[list[Coefficient], list[Coefficient]]:
    """The intercepts and the coefficients, those that go to infinity with the classes separated as infinite.

    Intercepts are known to do so for a row whose features are zero.
    """
    intercepts, coefficients = model.in_original_units()
    found, outputs = model.facts.certificate.get("separation") or {}, len(model.outputs)
    signs = {feature * outputs + output: sign for feature, output, sign in found.get("directions", ())}
    at_zero = {} if model.units_and_zero()[1].any() else dict(found.get("intercepts", ()))
    return _infinite(intercepts, at_zero), _infinite(coefficients, signs)


def _infinite(lines: list[Coefficient], signs: dict[int, int]) -> list[Coefficient]:
    """The lines, those at these places with the infinite value of this sign."""
    ratio = {1: math.inf, -1: 0.0}
    return [
        replace(line, value=signs[i] * math.inf, odds_ratio=ratio[signs[i]]) if i in signs else line
        for i, line in enumerate(lines)
    ]


def collinear(model: LogisticModel) -> str:
    """Which columns are combinations of others, in the table's own units, in one line; "" where none are known."""
    assumed = [[*relation, False] for relation in model.facts.certificate.get("collinear", ())]
    found = model.facts.standard_errors.get("collinear", assumed)
    shown = [
        f"{_relation(model, column, dict(others))}{'' if exact else ' (to rounding)'}"
        for column, others, exact in found[:MAX_RELATIONS]
    ]
    more = [f"and {len(found) - MAX_RELATIONS} more"] if len(found) > MAX_RELATIONS else []
    return "; ".join([*shown, *more])


def _relation(model: LogisticModel, column: int, others: dict[int, float]) -> str:
    """column = factor * other + ... as text; n_features stands for the constant column of the intercept."""
    names, last = model.feature_names, len(model.feature_names)
    units, zero = (np.append(part, end) for part, end in zip(model.units_and_zero(), (1.0, 0.0), strict=True))
    terms = {j: factor * units[j] / units[column] for j, factor in others.items() if j != last}
    parts = [*(factor * zero[j] for j, factor in others.items()), others.get(last, 0.0), -zero[column]]
    constant, size = math.fsum(parts), math.fsum(map(abs, parts))
    if model.center is not None:  # a constant that makes up for the rounding of factors of columns far from zero
        size = max(size, FAR_NEGLIGIBLE / NEGLIGIBLE * abs(model.center[column]))
    shown = [_term(factor, names[j]) for j, factor in list(terms.items())[:MAX_TERMS]]
    shown += [f"... ({len(terms)} columns)"] if len(terms) > MAX_TERMS else []
    if abs(constant) > NEGLIGIBLE * size:
        shown.insert(0, _term(constant / units[column], ""))
    return f"{names[column]} = {' '.join(shown).removeprefix('+ ') or '0'}".replace("= - ", "= -")


def _term(factor: float, name: str) -> str:
    """A term with its sign before it."""
    number = f"{abs(factor):.{10 if abs(factor) >= 1e6 else 6}g}"
    number = "" if name and number == "1" else number
    return f"{'-' if factor < 0 else '+'} {' '.join(part for part in (number, name) if part)}"


def _facts(model: LogisticModel) -> str:
    facts = model.facts
    n_features = len(model.feature_names)
    reason = facts.standard_errors.get("reason")
    lines = [
        f"target       {'' if facts.target is None else f'{facts.target}: '}{', '.join(map(str, model.classes))}",
        f"trained on   {facts.training_data['rows']:,} rows, {n_features} feature{'s' * (n_features != 1)}",
        f"penalty      l1 = {facts.penalty['l1']:g}, l2 = {facts.penalty['l2']:g}",
        f"solver       {facts.solver['name']}, {facts.solver['passes']:.1f} passes",
        f"objective    {facts.certificate['objective']:.10g} nats",
        f"status       {facts.certificate['status']}: {facts.certificate['message']}",
        f"errors       {'not computed: ' + reason if reason else 'standard errors of maximum likelihood'}",
    ]
    if relations := collinear(model):
        lines += [f"collinear    {relations}", f"{'':<12} {UNDETERMINED}"]
    if len(model.outputs) > 1:
        lines.append("odds         e^coefficient: of a class against the geometric mean of all classes")
    if model.encoder is not None:
        dropped = [f"{column.name} ({column.reason})" for column in model.encoder.schema.dropped]
        lines += [f"left out     {', '.join(dropped)}"] if dropped else []
    return "\n".join(lines)


def _table(model: LogisticModel, lines: list[Coefficient], first: str) -> str:
    """One line per coefficient; columns of standard errors, z and p only if any standard error is valid."""
    several = len(model.outputs) > 1
    with_errors = any(line.standard_error is not None for line in lines)
    heads = [first, *(["class"] if several else []), "coefficient", "odds to mean" if several else "odds ratio"]
    heads += ["std. error", "z", "p"] if with_errors else []
    rows = [_cells(line, several, with_errors) for line in lines]
    by_column = enumerate(zip(heads, *rows, strict=True))
    columns = [_aligned(cells, left=k <= int(several)) for k, cells in by_column]
    return "\n".join("  ".join(cells).rstrip() for cells in zip(*columns, strict=True))


def _aligned(cells: Sequence[str], *, left: bool) -> list[str]:
    width = max(map(len, cells))
    return [cell.ljust(width) if left else cell.rjust(width) for cell in cells]


def _cells(line: Coefficient, several: bool, with_errors: bool) -> list[str]:
    value = line.value or 0.0  # not -0.0
    cells = [line.feature, *([str(line.output)] if several else []), f"{value:.6g}", f"{line.odds_ratio:.4g}"]
    if not with_errors:
        return cells
    if line.standard_error is None or line.standard_error == 0:
        return [*cells, "-", "-", "-"]
    from scipy.special import ndtr

    z = line.value / line.standard_error
    return [*cells, f"{line.standard_error:.4g}", f"{z:.2f}", f"{2 * ndtr(-abs(z)):.2g}"]
