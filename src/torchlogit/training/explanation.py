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
        shown = _columns_that_separate(certificate.separation, names, outputs)
        whole = "perfectly" if certificate.separation.complete else "for some of the rows"
        return (
            f"separated: the classes can be told apart {whole} by {shown}, so that no finite coefficients fit best: "
            f"the values shown are where fitting stopped, and mean nothing for these columns. "
            f"Use a penalty (l2 > 0), or leave these columns out"
        )
    if certificate.status is Status.DIVERGED:
        return f"diverged: {certificate.message}"
    remedy = "" if certificate.reason is None else certificate.reason.remedy
    return f"not certified: {certificate.message}{'. ' * bool(remedy)}{remedy}"


def _columns_that_separate(separation: Separation, names: Sequence[str], outputs: Sequence[object]) -> str:
    """The columns whose coefficients go to infinity, with the sign: "x (+)", for several classes "x (a +, b -)"."""
    signs: dict[int, list[str]] = {}
    for feature, output, sign in separation.directions:
        label = f"{outputs[output]} " if len(outputs) > 1 else ""
        signs.setdefault(feature, []).append(label + ("+" if sign > 0 else "-"))
    columns = [f"{names[feature]} ({', '.join(found)})" for feature, found in signs.items()]
    more = f" and {len(columns) - MAX_NAMED} more" if len(columns) > MAX_NAMED else ""
    return (", ".join(columns[:MAX_NAMED]) + more) or "the intercept"
