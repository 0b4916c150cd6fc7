"""A model as text: how it was fitted, what is proven about it, and its coefficients in the table's own units."""

from __future__ import annotations

from collections.abc import Sequence

from torchlogit.model import Coefficient, LogisticModel

MAX_SHOWN = 500  # the most coefficients that are shown


def summary(model: LogisticModel, *, elsewhere: str) -> str:
    """The facts of the fit, then one line per coefficient; if there are more than MAX_SHOWN, only the largest.

    elsewhere: who has all coefficients, as the beginning of a sentence that ends in "them all", such as "coef_ holds".
    """
    intercepts, coefficients = model.in_original_units()
    shown, more = coefficients, ""
    if len(coefficients) > MAX_SHOWN:
        shown = sorted(coefficients, key=lambda line: abs(line.value), reverse=True)[:MAX_SHOWN]
        more = f"\n... the largest {MAX_SHOWN} of {len(coefficients):,} coefficients; {elsewhere} them all"
    return f"{_facts(model)}\n\n{_table(model, [*intercepts, *shown])}{more}"


def _facts(model: LogisticModel) -> str:
    facts = model.facts
    weight, n_features = facts.training_data["weight"], len(model.feature_names)
    reason = facts.standard_errors.get("reason")
    lines = [
        f"target       {'' if facts.target is None else f'{facts.target}: '}{', '.join(map(str, model.classes))}",
        f"trained on   {facts.training_data['rows']:,} rows, {n_features} feature{'s' * (n_features != 1)}",
        f"penalty      l1 = {facts.penalty['l1']:g}, l2 = {facts.penalty['l2']:g}",
        f"solver       {facts.solver['name']}, {facts.solver['passes']:.1f} passes",
        f"objective    {facts.certificate['objective'] / weight:.8f} a row",
        f"status       {facts.certificate['status']}: {facts.certificate['message']}",
        f"errors       {'not computed: ' + reason if reason else 'standard errors of maximum likelihood'}",
    ]
    if model.encoder is not None:
        dropped = [f"{column.name} ({column.reason})" for column in model.encoder.schema.dropped]
        lines += [f"left out     {', '.join(dropped)}"] if dropped else []
    return "\n".join(lines)


def _table(model: LogisticModel, lines: list[Coefficient]) -> str:
    """One line per coefficient; columns of standard errors, z and p only if any standard error is valid."""
    several = len(model.outputs) > 1
    with_errors = any(line.standard_error is not None for line in lines)
    heads = ["feature", *(["class"] if several else []), "coefficient", "odds ratio"]
    heads += ["std. error", "z", "p"] if with_errors else []
    rows = [_cells(line, several, with_errors) for line in lines]
    by_column = enumerate(zip(heads, *rows, strict=True))
    columns = [_aligned(cells, left=k <= int(several)) for k, cells in by_column]
    return "\n".join("  ".join(cells).rstrip() for cells in zip(*columns, strict=True))


def _aligned(cells: Sequence[str], *, left: bool) -> list[str]:
    width = max(map(len, cells))
    return [cell.ljust(width) if left else cell.rjust(width) for cell in cells]


def _cells(line: Coefficient, several: bool, with_errors: bool) -> list[str]:
    cells = [line.feature, *([str(line.output)] if several else []), f"{line.value:.6g}", f"{line.odds_ratio:.4g}"]
    if not with_errors:
        return cells
    if line.standard_error is None or line.standard_error == 0:
        return [*cells, "-", "-", "-"]
    from scipy.special import ndtr

    z = line.value / line.standard_error
    return [*cells, f"{line.standard_error:.4g}", f"{z:.2f}", f"{2 * ndtr(-abs(z)):.2g}"]
