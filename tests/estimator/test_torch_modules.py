"""torch.nn: the loss is F's, its derivatives are right; Linears are given and taken over with their predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from torch import Tensor, nn

import torchlogit
from cases import LOSSES, PENALTIES, LossCase, PenaltyCase, named
from classification import coefficients, rows
from reference import losses as reference
from torchlogit import InputError, LogisticHead, LogisticLoss, LogisticRegression, Status, TableEncoder
from torchlogit.estimator import to_model
from torchlogit.nn import _Penalty

every_loss = pytest.mark.parametrize("case", LOSSES, ids=named)
both_precisions = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def problem(case: LossCase, n: int = 6, size: float = 2.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Raw predictions, classes, probabilities and weights, float64."""
    generator = torch.Generator().manual_seed(case.n_classes)
    raw = size * torch.randn(n, case.loss.n_outputs, generator=generator, dtype=torch.float64)
    codes = torch.arange(n) % case.n_classes
    share = torch.rand(n, case.n_classes, generator=generator, dtype=torch.float64)
    share = share / share.sum(dim=1, keepdim=True)
    weight = 3 * torch.rand(n, generator=generator, dtype=torch.float64)
    return raw, codes, share[:, 1:] if case.n_classes == 2 else share, weight


# The loss


@every_loss
@both_precisions
def test_the_loss_is_the_weighted_sum_of_the_definition(case: LossCase, dtype: torch.dtype) -> None:
    raw, codes, share, weight = problem(case)
    hard = torch.eye(case.n_classes, dtype=torch.float64)[codes]
    for target, wanted in ((codes, hard[:, 1:] if case.n_classes == 2 else hard), (share, share)):
        exact = sum(
            s * float(reference.value(z, y))
            for s, z, y in zip(weight.tolist(), raw.tolist(), wanted.tolist(), strict=True)
        )
        ours = LogisticLoss()(raw.to(dtype), target, weight)
        assert ours.dtype == dtype
        assert ours.item() == pytest.approx(exact, rel=20 * torch.finfo(dtype).eps)


@every_loss
@pytest.mark.parametrize("kind", ["classes", "probabilities"])
def test_first_and_second_derivatives_are_those_of_the_value(case: LossCase, kind: str) -> None:
    raw, codes, share, weight = problem(case)
    raw.requires_grad_()
    weight.requires_grad_()
    target = codes if kind == "classes" else share

    def loss(raw: Tensor, weight: Tensor) -> Any:
        return LogisticLoss()(raw, target, weight)

    assert torch.autograd.gradcheck(loss, (raw, weight))
    assert torch.autograd.gradgradcheck(loss, (raw, weight))


@every_loss
def test_the_hessian_is_autograds_of_the_textbook_formula(case: LossCase) -> None:
    """Through a network, where first and second derivatives meet those of other layers."""
    _, _, share, _ = problem(case)
    x = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def textbook(theta: Tensor) -> Any:
        raw = torch.tanh(x @ theta.reshape(3, -1))
        if case.n_classes == 2:
            return nn.functional.binary_cross_entropy_with_logits(raw, share, reduction="sum")
        return nn.functional.cross_entropy(raw, share, reduction="sum")

    def ours(theta: Tensor) -> Any:
        return LogisticLoss()(torch.tanh(x @ theta.reshape(3, -1)), share)

    theta = torch.randn(3 * case.loss.n_outputs, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for derivative in (torch.func.grad, torch.autograd.functional.hessian):
        found = [
            derivative(f)(theta) if derivative is torch.func.grad else derivative(f, theta) for f in (ours, textbook)
        ]
        torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


@every_loss
@both_precisions
def test_it_stays_finite_and_exact_where_the_naive_formula_does_not(case: LossCase, dtype: torch.dtype) -> None:
    raw = torch.zeros(2, case.loss.n_outputs, dtype=dtype)
    raw[0, -1], raw[1, -1] = 1e4, -1e4
    raw.requires_grad_()
    loss = LogisticLoss()(raw, torch.tensor([case.n_classes - 1, 0]))
    (gradient,) = torch.autograd.grad(loss, raw, create_graph=True)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
    assert torch.isfinite(torch.autograd.grad(gradient.square().sum(), raw)[0]).all()


def test_half_precision_is_raised() -> None:
    raw = torch.tensor([[0.5], [-3.0]], dtype=torch.bfloat16, requires_grad=True)
    loss = LogisticLoss()(raw, torch.tensor([1, 1]))
    assert loss.dtype == torch.float32
    loss.backward()
    assert raw.grad is not None
    assert raw.grad.dtype == torch.bfloat16


def test_no_rows_are_no_loss() -> None:
    assert LogisticLoss()(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)).item() == 0


@pytest.mark.parametrize(
    ("raw", "target", "weight", "words"),
    [
        (torch.zeros(3), torch.zeros(3), None, r"^raw of shape \(3,\), torch.float32: expected floats, \(n, 1\)"),
        (torch.zeros(3, 1, dtype=torch.int64), torch.zeros(3), None, "^raw of shape .* torch.int64: expected floats"),
        (torch.zeros(3, 1), torch.zeros(2), None, r"^target of shape \(2,\) and torch.float32: expected \(3,\) whole"),
        (torch.zeros(3, 4), torch.zeros(3), None, r"expected \(3,\) whole numbers, the classes, or \(3, 4\) floats"),
        (torch.zeros(3, 4), torch.tensor([0, 4, 1]), None, "^target holds classes outside 0 to 3"),
        (torch.zeros(3, 1), torch.tensor([0, 2, 1]), None, "^target holds classes outside 0 to 1"),
        (torch.zeros(3, 1), torch.tensor([0, -1, 1]), None, "^target holds classes outside 0 to 1"),
        (torch.zeros(3, 1), torch.tensor([0.0, 1.5, 1.0]), None, r"^target holds values outside \[0, 1\]"),
        (torch.zeros(1, 1), torch.tensor([torch.nan]), None, r"^target holds values outside \[0, 1\]"),
        (torch.zeros(3, 1), torch.zeros(3, requires_grad=True), None, "^target requires a gradient"),
        (torch.zeros(3, 1), torch.zeros(3), torch.ones(3, 1), r"^weight of shape \(3, 1\): expected \(3,\)"),
    ],
)
def test_what_does_not_fit_is_refused(raw: Tensor, target: Tensor, weight: Tensor | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        LogisticLoss()(raw, target, weight)


# The head


@pytest.mark.parametrize("case", [case for case in PENALTIES if not case.reference.lower], ids=named)
def test_the_penalty_is_the_penalty_and_its_derivatives_are_right(case: PenaltyCase) -> None:
    weight = torch.tensor([[0.5, -2.0, 1.5, 3.0], [1.0, -0.25, 0.5, -4.0]], dtype=torch.float64, requires_grad=True)

    def omega(weight: Tensor) -> Any:
        return _Penalty.apply(weight, case.penalty)

    assert omega(weight).item() == pytest.approx(case.reference.value(weight.detach().T.numpy()), rel=1e-14)
    assert torch.autograd.gradcheck(omega, (weight,))
    if case.reference.l2 > 0:
        assert torch.autograd.gradgradcheck(omega, (weight,))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_batches_add_up_to_the_objective_that_is_certified(n_classes: int) -> None:
    """At the estimator's optimum: F as the certificate has it, whatever the batches, and a gradient of zero."""
    X, y = rows(n_classes)
    weight = np.random.default_rng(0).uniform(0.1, 3, len(y))
    model = LogisticRegression(l1=0.0, l2=2.0, tol=1e-13).fit(X, y, weight)
    head = LogisticHead(3, n_classes, l2=2.0)
    head.linear = model.to_torch(torch.float64)
    x, target, s = torch.tensor(X), torch.tensor(y), torch.tensor(weight)
    parts = [
        head.objective(head(x[rows]), target[rows], s[rows], total_weight=weight.sum())
        for rows in torch.arange(len(y)).split(32)
    ]
    total = sum(parts)
    assert total.item() == pytest.approx(model.certificate_.objective, rel=1e-13)
    total.backward()
    scale = np.abs(X).sum()
    assert all(p.grad is not None and p.grad.abs().max() < 1e-7 * scale for p in head.parameters())


def test_l1_and_l2_are_the_estimators() -> None:
    X, y = rows(d=8)
    model = LogisticRegression(l1=6.0, l2=0.5, tol=1e-12).fit(X, y)
    head = LogisticHead(8, l1=6.0, l2=0.5)
    head.linear = model.to_torch(torch.float64)
    value = head.objective(head(torch.tensor(X)), torch.tensor(y), total_weight=len(y))
    assert value.item() == pytest.approx(model.certificate_.objective, rel=1e-13)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_lbfgs_on_a_head_finds_the_certified_answer(n_classes: int) -> None:
    X, y = rows(n_classes)
    head = LogisticHead(3, n_classes).double()
    assert all(not parameter.any() for parameter in head.parameters())
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=500, tolerance_grad=1e-12, tolerance_change=0)

    def closure() -> Any:
        optimizer.zero_grad()
        value = head.objective(head(torch.tensor(X)), torch.tensor(y), total_weight=len(y))
        value.backward()
        return value

    optimizer.step(closure)
    model = LogisticRegression(tol=1e-13).fit(X, y)
    found = LogisticRegression.from_torch(head.linear)
    np.testing.assert_allclose(found.predict_proba(X), model.predict_proba(X), atol=1e-7)
    excess = closure().item() - model.certificate_.objective
    assert -model.certificate_.bound <= excess <= 1e-9 * model.certificate_.objective


def test_a_network_learns_through_the_head() -> None:
    """Gradients of all layers, in float32, are those of the textbook's loss and penalty."""
    torch.manual_seed(0)
    body, head = nn.Sequential(nn.Linear(3, 5), nn.Tanh()), LogisticHead(5, 3, l2=0.7)
    nn.init.normal_(head.linear.weight)
    x, y = torch.randn(20, 3), torch.arange(20) % 3
    parameters = [*body.parameters(), *head.parameters()]
    ours = torch.autograd.grad(head.objective(head(body(x)), y, total_weight=100), parameters)
    plain = nn.functional.cross_entropy(head(body(x)), y, reduction="sum")
    plain = plain + 0.2 * 0.7 / 2 * head.linear.weight.square().sum()
    torch.testing.assert_close(ours, torch.autograd.grad(plain, parameters), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LogisticHead(3, 1), "^n_classes=1: expected at least two"),
        (lambda: LogisticHead(3, l2=-1.0), r"^l2=-1\.0: expected a positive finite number"),
        (
            lambda: LogisticHead(3).objective(torch.zeros(2, 1), torch.zeros(2), total_weight=0),
            "^total_weight=0: expected the positive total weight of all rows",
        ),
    ],
)
def test_a_head_that_cannot_be_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()


# To torch


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_linear_predicts_the_same(n_classes: int) -> None:
    X, y = rows(n_classes)
    model = LogisticRegression().fit(X, y)
    for source in (model, to_model(model)):
        linear = source.to_torch(torch.float64)
        assert type(linear) is nn.Linear
        raw = linear(torch.tensor(X)).detach().numpy()
        np.testing.assert_allclose(raw, model.decision_function(X).reshape(raw.shape), rtol=1e-14, atol=1e-14)
        proba = np.column_stack([expit(-raw), expit(raw)]) if n_classes == 2 else softmax(raw, axis=1)
        np.testing.assert_allclose(proba, model.predict_proba(X), rtol=1e-13)
        small = source.to_torch()
        assert small.weight.dtype == small.bias.dtype == torch.float32
        np.testing.assert_allclose(small(torch.tensor(X).float()).detach().numpy(), raw, rtol=1e-5, atol=1e-5)


def test_a_linear_of_a_pipeline_takes_the_encoded_features() -> None:
    import pandas as pd
    from sklearn.pipeline import make_pipeline

    table = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "c": ["a", "b", "a", "b"]})
    fitted = make_pipeline(TableEncoder(), LogisticRegression()).fit(table, [0, 1, 1, 0])
    model = to_model(fitted)
    raw = model.to_torch(torch.float64)(torch.tensor(np.asarray(model.features(table), dtype=np.float64)))
    np.testing.assert_allclose(raw.detach().numpy()[:, 0], fitted.decision_function(table), rtol=1e-12, atol=1e-12)


def test_a_linear_draws_no_random_numbers_and_shares_no_memory() -> None:
    X, y = rows()
    model = LogisticRegression().fit(X, y)
    before = torch.get_rng_state()
    linear = model.to_torch(torch.float64)
    assert torch.equal(torch.get_rng_state(), before)
    kept = coefficients(model)
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.zero_()
    np.testing.assert_array_equal(coefficients(model), kept)
    assert linear.weight.requires_grad


# From torch


@pytest.mark.parametrize("n_classes", [2, 3])
def test_there_and_back_is_the_same_estimator(n_classes: int) -> None:
    X, y = rows(n_classes)
    names = np.array(["a", "b", "c"])[:n_classes]
    model = LogisticRegression().fit(X, names[y])
    back = LogisticRegression.from_torch(model.to_torch(torch.float64), classes=names)
    np.testing.assert_array_equal(coefficients(back), coefficients(model))
    np.testing.assert_array_equal(back.predict_proba(X), model.predict_proba(X))
    assert back.predict(X).tolist() == model.predict(X).tolist()
    assert back.get_params() == LogisticRegression().get_params()


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_the_order_of_the_classes_is_the_linears(outputs: int) -> None:
    """Whatever the order that they are named in, a class has the probability of its output."""
    X, _ = rows()
    linear = nn.Linear(3, outputs).double()
    names = ["z", "m", "a"][: max(outputs, 2)]
    raw = linear(torch.tensor(X)).detach().numpy()
    proba = np.column_stack([expit(-raw), expit(raw)]) if outputs == 1 else softmax(raw, axis=1)
    model = LogisticRegression.from_torch(linear, classes=names)
    assert model.classes_.tolist() == sorted(names)
    ours = model.predict_proba(X)[:, [model.classes_.tolist().index(name) for name in names]]
    np.testing.assert_allclose(ours, proba, rtol=1e-12)
    assert model.coef_.shape == ((1, 3) if outputs < 3 else (3, 3))
    plain = LogisticRegression.from_torch(linear)
    assert plain.classes_.tolist() == list(range(max(outputs, 2)))
    np.testing.assert_allclose(plain.predict_proba(X), proba, rtol=1e-12)


def test_what_is_taken_over_is_not_certified_until_it_is_fitted() -> None:
    X, y = rows()
    exact = LogisticRegression(tol=1e-12).fit(X, y)
    model = LogisticRegression.from_torch(exact.to_torch(torch.float64))
    assert model.certificate_.status is Status.UNCERTIFIABLE
    assert model.certificate_.bound is None
    assert model.n_iter_ == 0
    with pytest.raises(InputError, match=r"^taken over from torch, and not fitted"):
        to_model(model)
    again = model.set_params(warm_start=True, tol=1e-12).fit(X, y)
    assert again.certificate_.status is Status.CERTIFIED
    assert again.n_iter_ < exact.n_iter_
    assert again.certificate_.objective <= exact.certificate_.objective * (1 + 1e-12)
    assert torchlogit.LogisticModel is type(to_model(again))


def test_a_linear_without_a_bias_is_an_estimator_without_an_intercept() -> None:
    X, y = rows()
    model = LogisticRegression.from_torch(nn.Linear(3, 1, bias=False))
    assert not model.fit_intercept
    assert model.intercept_.tolist() == [0.0]
    assert model.fit(X, y).intercept_.tolist() == [0.0]


def broken() -> nn.Linear:
    linear = nn.Linear(3, 1)
    nn.init.constant_(linear.weight, torch.inf)
    return linear


@pytest.mark.parametrize(
    ("linear", "classes", "words"),
    [
        (nn.Sequential(nn.Linear(3, 1)), None, r"^Sequential: expected a torch\.nn\.Linear"),
        (nn.Linear(3, 1), ["a"], r"^classes=\['a'\]: expected 2 different ones"),
        (nn.Linear(3, 3), ["a", "b", "a"], "expected 3 different ones, in the order of the outputs"),
        (nn.Linear(3, 3), [["a", "b", "c"]], "expected 3 different ones"),
        (broken(), None, "^the Linear holds numbers that are not finite"),
    ],
)
def test_what_cannot_be_taken_over_is_refused(linear: Any, classes: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        LogisticRegression.from_torch(linear, classes=classes)
