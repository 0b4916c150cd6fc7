"""Explanations of certificates, for warnings and reports."""

from __future__ import annotations

from collections.abc import Sequence

from torchlogit.records import Certificate, Separation, Status

MAX_NAMED = 12  # the most columns that a message names; the others are counted


def explain(certificate: Certificate, names: Sequence[str], outputs: Sequence[object]) -> str:
    """A message that explains why an answer is not certified, and what to do next.

    names: names of the features. outputs: the class of each output.

    >>> from torchlogit.records import StopReason
    >>> spent = StopReason("the budget of 3 passes is spent", remedy="Give it more passes (max_iter) or time")
    >>> explain(Certificate(Status.BUDGET, 1.0, None, reason=spent), [], [])
    'not certified: the budget of 3 passes is spent; no bound yet. Give it more passes (max_iter) or time'
    """
    if certificate.separation is not None:
        return _separated(certificate.separation, names, outputs)
    if certificate.status is Status.DIVERGED:
        return f"diverged: {certificate.message}"
    remedy = "" if certificate.reason is None else certificate.reason.remedy
    return f"not certified: {certificate.message}{'. ' * bool(remedy)}{remedy}"


def _separated(separation: Separation, names: Sequence[str], outputs: Sequence[object]) -> str:
    """By which columns the classes are separated, with signs of coefficients: "x (+)", for several classes "x (a +)".

    The intercept is named too where it goes to infinity. Of completely separated classes no coefficient has a meaning.
    """
    signs: dict[str, list[str]] = {}
    for feature, output, sign in separation.directions:
        signs.setdefault(names[feature], []).append(_signed(outputs, output, sign))
    columns = [f"{name} ({', '.join(found)})" for name, found in signs.items()]
    some = columns and not separation.complete
    more = [f"{len(columns) - MAX_NAMED} more"] if len(columns) > MAX_NAMED else []
    if separation.intercepts:
        found = [_signed(outputs, output, sign) for output, sign in separation.intercepts]
        more.append(f"the intercept ({', '.join(found)})")
    parts = [", ".join(columns[:MAX_NAMED])] * bool(columns) + more
    shown = " and ".join([", ".join(parts[:-1])] * (len(parts) > 1) + parts[-1:]) or "several columns together"
    whole = "perfectly" if separation.complete else "for some of the rows"
    return (
        f"separated: the classes can be told apart {whole} by {shown}, so that no finite coefficients fit best: the "
        f"values shown are where fitting stopped, and mean nothing{' for these columns' if some else ''}. "
        f"Use a penalty (l2 > 0){', or leave these columns out' if columns else ''}"
    )


def _signed(outputs: Sequence[object], output: int, sign: int) -> str:
    return (f"{outputs[output]} " if len(outputs) > 1 else "") + ("+" if sign > 0 else "-")
