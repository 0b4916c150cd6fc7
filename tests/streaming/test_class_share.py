"""The class share as an expert: a stream never predicts worse than it, whatever the rows are, and says where it is not.

The guarantee: loss of the stream <= loss of the running class share + log(number of experts) * largest weight, in all.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from profiles import examples
from reference.streaming import Share, loss, sigma
from torchlogit.kernels import expert_loops
from torchlogit.penalties import ElasticNet
from torchlogit.records import Params
from torchlogit.streaming.class_share import STAY, ClassShare
from torchlogit.streaming.newton import StreamingNewton
from torchlogit.streaming.scale_free import ScaleFree
from torchlogit.streaming.stream import Start, Stream

Array = NDArray[np.float64]
Learner = StreamingNewton | ScaleFree
LEARNERS: dict[str, Learner] = {"newton": StreamingNewton(), "wide": ScaleFree()}
EXPERTS = 9  # eight linear ones and the class share


def in_time_order(n: int, seed: int = 0, rate: float = 1 / 600, n_classes: int = 2) -> tuple[Array, Array]:
    """Rare events over two days; columns: seconds since the start, and five normal ones of which one matters."""
    random = np.random.default_rng(seed)
    X = random.standard_normal((n, 6))
    X[:, 0] = np.sort(random.uniform(0, 2 * 86_400, n))
    raw = np.zeros((n, n_classes))
    raw[:, 0] = X[:, 1] + math.log(rate / (1 - rate)) - 0.5
    raw[:, 1:-1] = raw[:, :1] - 0.5 * X[:, 1:2]
    codes = (raw + random.gumbel(size=raw.shape)).argmax(axis=1)
    return X, (codes == 0).astype(float)[:, None] if n_classes == 2 else np.eye(n_classes)[codes]


def learned(learner: Learner, X: Array, target: Array, weight: Array | None = None, **settings: Any) -> Stream:
    stream = learner.begin(X.shape[1], max(2, target.shape[1]), ElasticNet(l2=1.0), **settings)
    stream.learn(X, target, weight)
    return stream


def share_loss(target: Array, weight: Array) -> float:
    """The loss of the running class share, with half a row of each class before the first row."""
    of_classes = np.column_stack([1 - target, target]) if target.shape[1] == 1 else target
    counts, largest, total = np.zeros(of_classes.shape[1]), 0.0, 0.0
    for y, s in zip(of_classes, weight, strict=True):
        largest = max(largest, s)
        if s > 0:
            total -= s * float(y @ np.log((counts + largest / 2) / (counts.sum() + len(y) * largest / 2)))
        counts += s * y
    return total


def excess(stream: Stream, target: Array, weight: Array) -> float:
    """By how much the stream's losses exceed those of the share in all, per largest weight."""
    return (stream.answer().certificate.objective - share_loss(target, weight)) / weight.max()


# -- the fault -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(("n", "rate"), [(200_000, 1 / 600), (20_000, 1 / 20)])
def test_a_column_that_grows_with_time_spoils_nothing(name: str, n_classes: int, n: int, rate: float) -> None:
    """It costs StreamingNewton 14 nats or so, where it once lost up to 366,000 nats on the share."""
    X, target = in_time_order(n, rate=rate, n_classes=n_classes)
    with_time, without = (learned(LEARNERS[name], rows, target).answer() for rows in (X, X[:, 1:]))
    gains = [answer.progressive.gain for answer in (with_time, without)]
    assert gains[0] is not None
    assert gains[1] is not None
    assert gains[0] > 0.75 * gains[1] > 0
    assert with_time.warning is None
    last = slice(-n // 10, None)
    losses = [
        loss_of(rows[last], answer.params, target[last])
        for rows, answer in ((X, with_time), (X[:, 1:], without))
    ]
    assert losses[0].sum() < losses[1].sum() + 10, "the model that is returned is as good now"


def loss_of(X: Array, params: Params, target: Array) -> Array:
    out = np.empty(len(X))
    expert_loops.losses(X @ params.coef.numpy() + params.intercept.numpy(), target, out)
    return out


# -- the guarantee ---------------------------------------------------------------------------------------------


@st.composite
def any_rows(draw: st.DrawFn) -> tuple[Array, Array, Array]:
    """Streams that mean harm: columns that grow, jump, turn, or hold huge values, targets that flip, any weights."""
    n, n_classes, seed = draw(st.integers(1, 1500)), draw(st.sampled_from([2, 3])), draw(st.integers(0, 2**32 - 1))
    random, at = np.random.default_rng(seed), np.arange(n)
    kinds = {
        "normal": random.standard_normal(n),
        "seconds": at * 1e3 + 1.7e9,
        "growing": np.exp(at / 40),
        "a level": (at > n // 2).astype(float),
        "huge": np.where(random.random(n) < 0.01, 1e30 * random.standard_normal(n), random.standard_normal(n)),
        "turning": np.where(at % 400 < 200, 1.0, -1.0) * random.standard_normal(n),
    }
    X = np.column_stack([kinds[kind] for kind in draw(st.lists(st.sampled_from(list(kinds)), min_size=1, max_size=4))])
    targets = {
        "rare": (random.random(n) < 0.01).astype(int),
        "flips": (at // draw(st.integers(1, 500))) % n_classes,
        "by the first column, then against it": ((X[:, 0] > np.median(X[:, 0])) ^ (at > n // 2)).astype(int),
        "one class, then another": (at > draw(st.integers(0, n))).astype(int),
        "noise": random.integers(0, n_classes, n),
    }
    codes = targets[draw(st.sampled_from(list(targets)))]
    target = codes[:, None].astype(float) if n_classes == 2 else np.eye(n_classes)[codes]
    weights = {
        "one": np.ones(n),
        "whole": random.integers(0, 4, n).astype(float),
        "wide": random.lognormal(0, 3, n) * 1e-3,
    }
    weight = weights[draw(st.sampled_from(list(weights)))]
    weight[0] = max(weight[0], 1e-3)
    return X, target, weight


@pytest.mark.parametrize("name", LEARNERS)
@examples(40)
@given(rows=any_rows())
def test_no_stream_predicts_worse_than_its_class_share(name: str, rows: tuple[Array, Array, Array]) -> None:
    X, target, weight = rows
    stream = learned(LEARNERS[name], X, target, weight)
    assert excess(stream, target, weight) <= math.log(EXPERTS) + 1e-9
    losses = stream.answer().progressive
    assert losses.share_log_loss is not None
    assert losses.share_log_loss * losses.weight == pytest.approx(share_loss(target, weight), rel=1e-9)


@examples(60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_classes=st.sampled_from([2, 3, 4]),
    n_experts=st.integers(1, 12),
    spread=st.sampled_from([0.1, 3.0, 50.0, 2000.0]),
)
def test_whatever_the_linear_experts_say(seed: int, n_classes: int, n_experts: int, spread: float) -> None:
    """An adversary's predictions, far off or better than the share in turns, weights and targets in between too."""
    random, n = np.random.default_rng(seed), 400
    outputs = 1 if n_classes == 2 else n_classes
    of_classes = random.dirichlet(np.full(n_classes, 0.05), n)
    target = of_classes[:, 1:].copy() if outputs == 1 else of_classes
    linear = spread * random.standard_normal((n, outputs)) + np.where(random.random((n, 1)) < 0.9, 4.0 * target, 0)
    weight = np.exp(random.normal(0, 2, n)) * (random.random(n) < 0.9)
    share = ClassShare(outputs, n_experts, intercept=True)
    shares = share.predict_and_learn(target, weight, np.zeros_like(target))
    losses = np.empty((2, n))
    expert_loops.losses(shares.raw, target, losses[0])
    expert_loops.losses(linear, target, losses[1])
    _, found = share.mix(shares, linear, losses, target, weight)
    assert weight @ (found - losses[0]) <= weight.max() * math.log(n_experts + 1) * (1 + 1e-9)
    to_linear = math.log((STAY + 1) / STAY / share.prior[1])
    assert weight @ (found - losses[1]) <= weight.max() * to_linear * (1 + 1e-9) + 1e-9 * (weight @ losses[1])


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_mixture_is_the_reference_s(n_classes: int) -> None:
    random, n = np.random.default_rng(0), 300
    outputs = 1 if n_classes == 2 else n_classes
    of_classes = np.eye(n_classes)[random.integers(0, n_classes, n)]
    target = of_classes[:, 1:].copy() if outputs == 1 else of_classes
    linear, weight = 2 * random.standard_normal((n, outputs)), random.integers(0, 3, n) / 4 * np.linspace(1, 2, n)
    share = ClassShare(outputs, 4, intercept=True)
    shares, losses = share.predict_and_learn(target, weight, np.zeros_like(target)), np.empty((2, n))
    expert_loops.losses(shares.raw, target, losses[0])
    expert_loops.losses(linear, target, losses[1])
    _, found = share.mix(shares, linear, losses, target, weight)
    expected, reference = [], Share(np.zeros(n_classes), (STAY + 1) / STAY / 5, STAY)
    for z, y, s in zip(linear, of_classes, weight, strict=True):
        z = np.append(0.0, z) if outputs == 1 else z
        other = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        both, alone = reference.predict(other, s)
        expected.append(-float(y @ np.log(both)))
        reference.learn(alone, other, y, s)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_allclose(share.belief[0], reference.weight(), rtol=1e-9)


def test_the_units_of_weights_do_not_matter_to_the_share() -> None:
    X, target = in_time_order(2000, rate=0.2)
    streams = [learned(StreamingNewton(rates=(), windows=()), X, target, np.full(2000, s)) for s in (1.0, 1e-6)]
    ones, tiny = (stream.answer().progressive for stream in streams)
    assert ones.share_log_loss == pytest.approx(tiny.share_log_loss, rel=1e-9)


# -- what the answer is, and what is said ----------------------------------------------------------------------


def noise(n: int = 6000, d: int = 20) -> tuple[Array, Array]:
    random = np.random.default_rng(3)
    return random.standard_normal((n, d)), (random.random((n, 1)) < 0.03).astype(float)


@pytest.mark.parametrize("name", LEARNERS)
def test_columns_that_say_nothing_leave_the_class_share(name: str) -> None:
    X, target = noise()
    answer = learned(LEARNERS[name], X, target).answer()
    assert not answer.params.coef.any()
    assert sigma(float(answer.params.intercept[0])) == pytest.approx((target.sum() + 0.5) / (len(X) + 1))
    assert answer.expert_weights["class share"] == 1
    assert sum(answer.expert_weights.values()) == 1
    assert answer.excess is None
    assert answer.warning is not None
    assert answer.certificate.message.endswith(answer.warning)
    assert "all coefficients are 0" in answer.warning
    assert "above the best" not in answer.certificate.message


@pytest.mark.parametrize("name", LEARNERS)
def test_several_classes_too(name: str) -> None:
    X, _ = noise()
    codes = np.random.default_rng(4).choice(3, len(X), p=[0.02, 0.9, 0.08])
    answer = learned(LEARNERS[name], X, np.eye(3)[codes]).answer()
    assert not answer.params.coef.any()
    p = np.exp(answer.params.intercept.numpy())
    np.testing.assert_allclose(p / p.sum(), (np.bincount(codes) + 0.5) / (len(X) + 1.5))
    assert float(answer.params.intercept.sum()) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("how", ["no intercept", "an offset", "a fitted model"])
def test_the_linear_model_stays_where_the_share_is_no_substitute(name: str, how: str) -> None:
    X, target = noise()
    start = Start(Params(0.3 + torch.zeros(20, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)), 1e5)
    settings: dict[str, Any] = {"no intercept": {"intercept": False}, "a fitted model": {"start": start}}.get(how, {})
    stream = LEARNERS[name].begin(X.shape[1], 2, ElasticNet(l2=1.0), **settings)
    stream.learn(X, target, None, np.full_like(target, 0.1) if how == "an offset" else None)
    answer = stream.answer()
    assert answer.params.coef.any()
    assert answer.expert_weights["class share"] == 0
    assert excess(stream, target, np.ones(len(X))) <= math.log(EXPERTS)
    if answer.progressive.no_better:
        assert answer.warning is not None
        assert "no better than always predicting the class share" in answer.warning


@pytest.mark.parametrize("name", LEARNERS)
def test_what_was_measured_is_said(name: str) -> None:
    X, target = in_time_order(20_000, rate=0.1)
    answer = learned(LEARNERS[name], X, target).answer()
    losses = answer.progressive
    assert losses.gain is not None
    assert losses.gain_error is not None
    assert losses.share_log_loss == pytest.approx(losses.log_loss + losses.gain)
    assert losses.share_log_loss == pytest.approx(share_loss(target, np.ones(len(X))) / len(X))
    assert 0.0005 < losses.gain_error < 0.004
    message = answer.certificate.message
    said = f"{losses.gain:.2g} +- {losses.gain_error:.2g} better than always predicting the class share"
    assert said in message
    if name == "newton":
        assert "if the rows came in random order, which was not checked, the model is expected to be about" in message


def test_no_excess_is_claimed_where_experts_that_follow_a_drift_lead() -> None:
    random = np.random.default_rng(5)
    X = random.standard_normal((8000, 3))
    turn = np.where(np.arange(8000) % 1000 < 500, 3.0, -3.0)
    target = (random.random((8000, 1)) < sigma(turn * X[:, 0])[:, None]).astype(float)
    answer = learned(StreamingNewton(), X, target).answer()
    assert sum(weight for expert, weight in answer.expert_weights.items() if expert.startswith("kappa")) < 0.5
    assert answer.excess is None


def test_a_share_that_led_is_left_when_the_columns_begin_to_tell() -> None:
    X, target = noise(4000)
    X = np.vstack([X, X])
    target = np.vstack([target, (X[:4000, :1] > 0).astype(float)])
    stream = learned(StreamingNewton(), X[:4000], target[:4000])
    assert stream.answer().expert_weights["class share"] == 1
    stream.learn(X[4000:], target[4000:])
    assert stream.answer().expert_weights["class share"] == 0
    assert stream.answer().params.coef.any()


def test_log_odds_are_limited_to_what_the_rows_before_are_evidence_for() -> None:
    raws = np.array([[[50.0], [-50.0], [0.5], [math.nan]]])
    expert_loops.limit(raws, np.ones(4), 3.0, 3.0)
    assert raws[0, :, 0].tolist() == pytest.approx([math.log(7), -math.log(9), 0.5, 0.0])
    softmax = np.array([[[50.0, 0.0, 49.0], [math.nan, math.inf, 0.0]]])
    expert_loops.limit(softmax, np.full(2, 10.0), 1.0, 10.0)
    assert softmax[0, 0].tolist() == pytest.approx([50, 50 - math.log(21), 49])
    assert np.isfinite(softmax).all()
    alone = loss(np.array([-50.0]), np.array([1.0]))[0]
    assert alone > 5 * loss(np.array([-math.log(9)]), np.array([1.0]))[0]
