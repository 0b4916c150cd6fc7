"""A certificate's message follows from what it holds."""

from __future__ import annotations

import pytest

from torchlogit.records import Certificate, Separation, Status, StopReason

SEPARATED = "no finite minimum exists: the classes are {} separated, and coefficients run off to infinity"
CASES = [
    (Certificate(Status.CERTIFIED, 10.0, 1e-6), "at most 1.0e-06 nats above the minimum, proven (1.0e-07 of it)"),
    (Certificate(Status.SEPARATED, 1.0, None, Separation(True, ())), SEPARATED.format("completely")),
    (Certificate(Status.SEPARATED, 1.0, None, Separation(False, ())), SEPARATED.format("quasi-completely")),
    (Certificate(Status.BUDGET, 10.0, None), "no bound yet"),
    (Certificate(Status.BUDGET, 10.0, None, reason=StopReason("interrupted")), "interrupted; no bound yet"),
    (
        Certificate(Status.BUDGET, 10.0, 0.5, reason=StopReason("interrupted", answer="the best step is kept")),
        "interrupted; the best step is kept; at most 0.5 nats above the minimum",
    ),
    (Certificate(Status.UNCERTIFIABLE, 10.0, None, reason=StopReason(known="log loss 0.5")), "log loss 0.5"),
    (Certificate(Status.DIVERGED, 10.0, None, reason=StopReason("the objective is not finite")),
     "the objective is not finite"),
]  # fmt: skip


@pytest.mark.parametrize(("certificate", "message"), CASES, ids=[message for _, message in CASES])
def test_the_message_says_why_the_fit_ended_and_what_is_known(certificate: Certificate, message: str) -> None:
    assert certificate.message == message
