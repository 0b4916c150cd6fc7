"""Learning in one pass: against slow references, and what must not change a bit or must not matter."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from profiles import examples
from reference.streaming import Follower, NewtonModel, loss, scale_free, sigma
from torchlogit.errors import InputError
from torchlogit.kernels import expert_loops, follower_loops, newton_loops
from torchlogit.kernels.fast_math import log_normal
from torchlogit.losses import loss_for
from torchlogit.penalties import ElasticNet
from torchlogit.records import Params, StreamState
from torchlogit.streaming.newton import StreamingNewton
from torchlogit.streaming.scale_free import POWER, ScaleFree
from torchlogit.streaming.stream import Start, Stream

Array = NDArray[np.float64]
Learner = StreamingNewton | ScaleFree
SCALES = np.geomspace(0.1, 10, 4)
NEWTON_ALONE = StreamingNewton(windows=(), rates=())
LEARNERS = {"newton": StreamingNewton(), "wide": ScaleFree()}


def rows(n: int = 700, d: int = 4, n_classes: int = 2, seed: int = 0) -> tuple[Array, Array]:
    """Features, a third of them zero, and targets as the learners take them."""
    random = np.random.default_rng(seed)
    X = random.standard_normal((n, d)) * (random.random((n, d)) < 2 / 3) * SCALES[:d] + 0.0  # no zero below zero
    raw = X / SCALES[:d] @ random.standard_normal((d, n_classes)) + random.gumbel(size=(n, n_classes))
    codes = raw.argmax(axis=1)
    return X, codes[:, None].astype(float) if n_classes == 2 else np.eye(n_classes)[codes]


def begun(learner: Learner, d: int = 4, n_classes: int = 2, l2: float = 1.0, **settings: Any) -> Stream:
    return learner.begin(d, n_classes, ElasticNet(l2=l2), **settings)


def bits(stream: Stream) -> tuple[Any, ...]:
    """All that an answer and a record hold, to the bit."""
    answer, record = stream.answer(), stream.record()
    arrays = {name: (array.shape, array.tobytes()) for name, array in record.arrays.items()}
    params = answer.params.coef.numpy().tobytes(), answer.params.intercept.numpy().tobytes()
    return params, answer.progressive, answer.excess, answer.expert_weights, record.facts, arrays


def theta_of(stream: Stream) -> Array:
    params = stream.answer().params
    return np.concatenate([params.coef.numpy(), params.intercept.numpy()[None]])


# -- against slow references -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kappa", [0.0, 1.0])
def test_blocks_are_joined_as_the_formula_says(kappa: float) -> None:
    """One model: a block of 256 rows, then of 1,024, its past faded, the prior once, and where it forgets a mean."""
    X, y = rows(256 + 3 * 1024)
    weight = np.random.default_rng(1).integers(0, 3, len(X)).astype(float)
    learner = StreamingNewton(kappas=(kappa,), windows=(), rates=())
    stream = begun(learner)
    stream.learn(X, y, weight)

    center = np.average(X[:256], axis=0, weights=weight[:256])
    model, mean, total, seen, effective = NewtonModel.empty(5), np.zeros(5), 0.0, 0.0, 0.0
    for part in (slice(0, 256), *(slice(start, start + 1024) for start in range(256, len(X), 1024))):
        w = weight[part]
        block = np.column_stack([X[part] - center, np.ones(len(w))])
        fade = (seen / (seen + w.sum())) ** kappa if seen else 0.0
        model.A, model.b = model.A * fade, model.b * fade
        effective, seen = effective * fade + w.sum(), seen + w.sum()
        precision = effective / seen * np.array([1.0, 1.0, 1.0, 1.0, 0.01])
        model.join(block, y[part, 0], w, precision)
        by = w.sum() * seen**kappa
        total = total + by if kappa else by
        mean = mean + (model.theta - mean) * by / total
    expected = np.append(mean[:4], mean[4] - center @ mean[:4])
    # the learner's last Newton step in a block leaves an error of about its own square
    assert np.abs((theta_of(stream)[:, 0] - expected) * np.append(SCALES, 1)).max() < 0.02
    assert np.abs(expected[:4] * SCALES).max() > 0.4


def test_a_block_that_is_solved_to_the_end_is_the_reference_s() -> None:
    X, y = rows(300)
    X = np.column_stack([X, np.ones(300)])
    weight, precision = np.linspace(0, 2, 300), np.array([1.0, 2.0, 0.5, 1.0, 0.01])
    A, b, theta = np.zeros((5, 5)), np.zeros(5), np.zeros(5)
    reference = NewtonModel.empty(5)
    for part in (slice(0, 200), slice(200, 300)):
        block = X[part], y[part], weight[part], np.zeros((len(y[part]), 1))
        room = np.full((part.stop - part.start, 1), np.nan), np.empty((5, 5)), np.empty_like(X[part])
        newton_loops.join(*block, np.ones((1, 1)), A, b, theta, precision, 1e-9, 0.0, 100, *room)
        reference.join(X[part], y[part, 0], weight[part], precision)
        np.testing.assert_allclose(theta, reference.theta, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(A, reference.A, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(b, reference.b, rtol=1e-6, atol=1e-7)


def test_two_classes_are_a_softmax_of_two() -> None:
    """w = sqrt(2) times the contrast's coefficients, whose l2 is half."""
    X, y = rows(200)
    both, zeros = np.hstack([1 - y, y]), np.zeros((200, 2))
    basis = loss_for(3).__class__(2).basis().numpy()
    one, two = np.zeros(4), np.zeros(4)
    A, B = np.zeros((4, 4)), np.zeros((4, 4))
    ones = np.ones(200)
    limits = 1e-9, 0.0, 100
    room = np.full((200, 1), np.nan), np.empty((4, 4)), np.empty_like(X)
    past = np.ones((1, 1)), A, np.zeros(4), one, ones[:4] / 2
    newton_loops.join(X, y, ones, zeros[:, :1].copy(), *past, *limits, *room)
    room = np.full((200, 2), np.nan), np.empty((4, 4)), np.empty_like(X)
    newton_loops.join(X, both, ones, zeros, basis, B, np.zeros(4), two, ones[:4], *limits, *room)
    contrast = (basis[1] - basis[0])[0]
    np.testing.assert_allclose(contrast * two, one, rtol=1e-9)
    np.testing.assert_allclose(B, 2 * A, rtol=1e-9)


def follow(X: Array, y: Array, weight: Array, rates: Array, switching_rates: Array) -> dict[str, Array]:
    (n, d), f, m, mixtures = X.shape, len(rates), y.shape[1], len(switching_rates)
    steps = {"coef": np.zeros((f, m, d)), "intercept": np.zeros((f, m)), "raws": np.empty((f, n, m))}
    mixed = {"of_experts": np.full((mixtures, f), 1 / f), "of_mixtures": np.full(mixtures, 1 / mixtures)}
    mixed |= {"recent": np.zeros(f), "raw": np.empty((n, m)), "loss": np.empty(n)}
    moments = np.zeros(1), *np.zeros((2, d))
    follower_loops.follow(X, y, weight, np.zeros((n, m)), rates, True, *moments, *steps.values())
    expert_loops.mix(steps["raws"], y, weight, switching_rates, 0.0, *mixed.values())
    return steps | mixed


@given(value=st.floats(1e-300, 1e300))
def test_the_fast_logarithm_is_that_of_the_library(value: float) -> None:
    assert log_normal(value) == pytest.approx(math.log(value), rel=1e-13, abs=1e-15)


@given(values=st.lists(st.floats(0, 750), min_size=1, max_size=9))
def test_fast_exp_and_log_are_those_of_the_library(values: list[float]) -> None:
    """The losses of rows wherever they stand, and far out, where exp ends at 1e-304."""
    raw, target = np.array(values + [-v for v in values])[:, None], np.zeros((2 * len(values), 1))
    out = np.empty(len(raw))
    expert_loops.losses(raw, target, out)
    np.testing.assert_allclose(out, np.logaddexp(0, raw[:, 0]), rtol=1e-12, atol=1e-300)
    alone = np.empty(1)
    for i in range(len(raw)):
        expert_loops.losses(raw[i : i + 1], target[:1], alone)
        assert alone[0] == out[i]


def test_followers_and_expert_weights_are_the_reference_s() -> None:
    X, y = rows(60, 3)
    weight = np.random.default_rng(2).integers(0, 3, 60).astype(float)
    rates, shares = np.array([0.05, 0.5]), np.array([0.01, 0.0])
    found = follow(X, y, weight, rates, shares)
    experts = [Follower(rate, np.zeros(3)) for rate in rates]
    belief, trust, raws, weights = np.full((2, 2), 0.5), np.full(2, 0.5), [], [np.zeros(2)]
    for i, (x, (target,), s) in enumerate(zip(X, y, weight, strict=True)):
        own = np.array([expert.predict(x, s) for expert in experts])
        means = belief @ own
        raws.append(trust @ means)
        if s == 0:
            continue
        belief = belief * np.exp(-s * loss(own, target))
        share = np.array([0.01, 1 / (2 + i)])[:, None]
        belief = (1 - share) * belief / belief.sum(axis=1, keepdims=True) + share / 2
        trust = trust * np.exp(-s * loss(means, target))
        trust = (1 - 1 / (2 + i)) * trust / trust.sum() + 1 / (2 + i) / 2
        weights.append(weights[-1] + (trust @ belief - weights[-1]) / (i + 1))
        for expert in experts:
            expert.learn(x, target, s)
    np.testing.assert_allclose(found["raw"][:, 0], raws, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["loss"], loss(np.array(raws), y[:, 0]), rtol=1e-5, atol=1e-6)
    coef, intercept = zip(*(expert.own_units() for expert in experts), strict=True)
    np.testing.assert_allclose(found["coef"][:, 0], coef, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["intercept"][:, 0], intercept, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["of_experts"], belief, rtol=1e-5)
    np.testing.assert_allclose(found["of_mixtures"], trust, rtol=1e-5)
    np.testing.assert_allclose(found["recent"], weights[-1], rtol=1e-5)


@pytest.mark.parametrize("l2", [0.0, 1.0])
def test_scale_free_is_the_reference_s(l2: float) -> None:
    X, y = rows(80)
    weight = np.random.default_rng(3).integers(1, 3, 80).astype(float)
    stream = ScaleFree(rates=(2.0,)).begin(4, 2, ElasticNet(l2=l2))
    stream.learn(X, y, weight)
    last, mean, _ = scale_free(X, y[:, 0], weight, np.full(4, l2), 2.0, POWER)
    arrays = stream.record().arrays
    found = arrays["coef"][:, 0, 0]
    np.testing.assert_allclose(found, last, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found - arrays["drawn"][:, 0, 0] / arrays["totals"][3], mean, rtol=1e-5, atol=1e-6)


# -- what must not change a bit --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("n_classes", [2, 3])
@examples(12)
@given(cuts=st.lists(st.integers(0, 2600), max_size=6))
def test_how_rows_are_cut_up_does_not_change_a_bit(name: str, n_classes: int, cuts: list[int]) -> None:
    X, y = rows(2600, n_classes=n_classes)
    weight = np.random.default_rng(4).integers(0, 3, len(X)).astype(float)
    whole, parts = (begun(LEARNERS[name], n_classes=n_classes) for _ in range(2))
    whole.learn(X, y, weight)
    for part in np.split(np.arange(len(X)), sorted(cuts)):
        parts.learn(X[part], y[part], weight[part])
        parts.answer()
    assert bits(parts) == bits(whole)
    assert whole.rows == parts.rows == len(X)


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize(
    "how", [scipy.sparse.csr_array, np.float32, np.asfortranarray], ids=["csr", "float32", "column by column"]
)
def test_the_form_of_the_rows_does_not_change_a_bit(name: str, how: Callable[[Array], Any]) -> None:
    X, y = rows()
    X = X.astype(np.float32).astype(np.float64)
    plain, other = begun(LEARNERS[name]), begun(LEARNERS[name])
    plain.learn(X, y)
    other.learn(how(X), y)
    assert bits(other) == bits(plain)


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("cut", [0, 100, 256, 1280, 2600])
def test_a_stream_goes_on_from_its_record(name: str, n_classes: int, cut: int) -> None:
    X, y = rows(2600, n_classes=n_classes)
    straight, before = (begun(LEARNERS[name], n_classes=n_classes, intercept=False) for _ in range(2))
    straight.learn(X, y)
    before.learn(X[:cut], y[:cut])
    record = before.record()
    arrays = {part: array.copy() for part, array in record.arrays.items()}
    resumed = LEARNERS[name].resume(StreamState(record.facts, arrays))
    before.learn(X[cut:], y[cut:])
    resumed.learn(X[cut:], y[cut:])
    assert bits(before) == bits(resumed) == bits(straight)
    assert all(np.array_equal(arrays[part], record.arrays[part]) for part in arrays)  # the record itself stays


def test_a_start_is_on_record_too() -> None:
    X, y = rows()
    from_model = Start(begun_answer().params, 400.0)
    straight, before = (begun(StreamingNewton(), start=from_model) for _ in range(2))
    straight.learn(X, y)
    before.learn(X[:10], y[:10])
    resumed = StreamingNewton().resume(before.record())
    resumed.learn(X[10:], y[10:])
    assert bits(resumed) == bits(straight)


@pytest.mark.parametrize("name", LEARNERS)
def test_the_layout_of_a_start_does_not_change_a_bit(name: str) -> None:
    X, y = rows(n_classes=3)
    coef, intercept = np.random.default_rng(11).standard_normal((4, 3)), torch.zeros(3, dtype=torch.float64)
    layouts = torch.from_numpy(coef), torch.from_numpy(np.asfortranarray(coef))
    streams = [begun(LEARNERS[name], n_classes=3, start=Start(Params(each, intercept), 100.0)) for each in layouts]
    for stream in streams:
        stream.learn(X, y)
    assert bits(streams[0]) == bits(streams[1])


def begun_answer() -> Any:
    X, y = rows(400, seed=5)
    stream = begun(NEWTON_ALONE)
    stream.learn(X, y)
    return stream.answer()


@pytest.mark.parametrize("name", LEARNERS)
def test_a_damaged_record_is_refused(name: str) -> None:
    stream = begun(LEARNERS[name])
    stream.learn(*rows(100))
    record = stream.record()
    for part in ("belief", "progressive_totals", "coef"):
        arrays = copy.copy(record.arrays)
        arrays[part] = arrays[part][:1]
        with pytest.raises(InputError, match=rf"^the stream's record holds no {part} of shape .*: it is damaged"):
            LEARNERS[name].resume(StreamState(record.facts, arrays))
        del arrays[part]
        with pytest.raises(InputError, match=rf"^the stream's record holds no {part} of shape"):
            LEARNERS[name].resume(StreamState(record.facts, arrays))


# -- what must not matter --------------------------------------------------------------------------------------


@pytest.mark.parametrize("learner", [NEWTON_ALONE, ScaleFree(rates=(1.0,))], ids=["newton", "wide"])
def test_rows_without_weight_count_for_nothing(learner: Learner) -> None:
    """But that blocks then end elsewhere, and that they count as rows where an expert's share is one in as many."""
    X, y = rows()
    weight = (np.random.default_rng(6).random(len(X)) < 0.7).astype(float)
    with_them, without = begun(learner), begun(learner)
    with_them.learn(X, y, weight)
    without.learn(X[weight > 0], y[weight > 0])
    apart = (theta_of(with_them) - theta_of(without))[:, 0]
    assert np.abs(apart * np.append(SCALES, 1)).max() < 0.03
    assert with_them.answer().progressive.weight == weight.sum()


def test_weights_are_repetition_for_the_newton_models() -> None:
    """Experts that go row by row meet a repeated row as one that they have just seen, which is what it is."""
    X, y = rows(3000)
    weight = np.random.default_rng(7).integers(0, 4, len(X))
    weighted, repeated = begun(NEWTON_ALONE), begun(NEWTON_ALONE)
    weighted.learn(X, y, weight.astype(float))
    repeated.learn(np.repeat(X, weight, axis=0), np.repeat(y, weight, axis=0))
    errors = standard_errors(X, y, weight.astype(float), theta_of(repeated)[:, 0])
    assert (np.abs(theta_of(weighted) - theta_of(repeated))[:, 0] / errors).max() < 0.5


def standard_errors(X: Array, y: Array, weight: Array, theta: Array) -> Array:
    X = np.column_stack([X, np.ones(len(X))])
    p = sigma(X @ theta)
    return np.sqrt(np.linalg.inv((X * (weight * p * (1 - p))[:, None]).T @ X + np.eye(X.shape[1])).diagonal())


@pytest.mark.parametrize("name", LEARNERS)
def test_units_do_not_matter_without_a_penalty(name: str) -> None:
    X, y = rows()
    units = np.array([1e-6, 1e-2, 1e3, 1e6])
    plain, scaled = (begun(LEARNERS[name], l2=0.0) for _ in range(2))
    plain.learn(X, y)
    scaled.learn(X * units, y)
    expected, found = theta_of(plain)[:, 0], theta_of(scaled)[:, 0]
    np.testing.assert_allclose(found * np.append(units, 1), expected, rtol=1e-4, atol=1e-6)


def test_a_column_far_from_zero_is_as_good_as_one_near() -> None:
    X, y = rows()
    near, far = begun(StreamingNewton(), l2=0.0), begun(StreamingNewton(), l2=0.0)
    near.learn(X, y)
    far.learn(X + np.array([0, 0, 1e7, 0]), y)
    np.testing.assert_allclose(theta_of(far)[:4], theta_of(near)[:4], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LEARNERS)
def test_offsets_are_taken_out(name: str) -> None:
    """Where the offset is the truth, nothing is left to learn."""
    random = np.random.default_rng(8)
    X, offset = random.standard_normal((3000, 3)), 2 * random.standard_normal((3000, 1))
    y = (random.random((3000, 1)) < sigma(offset)).astype(float)
    stream = begun(LEARNERS[name], d=3)
    stream.learn(X, y, None, offset)
    assert np.abs(theta_of(stream)).max() < 0.25
    assert stream.answer().progressive.log_loss < loss(offset, y).mean() + 0.01


# -- hard rows -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("l2", [0.0, 1.0])
def test_separated_rows_columns_without_values_and_one_class_leave_numbers(name: str, l2: float) -> None:
    X, _ = rows(600)
    X[:, 3] = 0
    X[550:, 3] = 1  # a level that comes late
    for target in ((X[:, :1] > 0).astype(float), np.ones((600, 1)), X[:, 3:]):
        stream = begun(LEARNERS[name], l2=l2)
        stream.learn(X, target)
        answer = stream.answer()
        assert np.isfinite(theta_of(stream)).all()
        assert 0 <= answer.progressive.log_loss < np.log(2)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_huge_value_leaves_numbers(name: str) -> None:
    X, y = rows(600)
    X[300, 0] = 1e30
    stream = begun(LEARNERS[name])
    stream.learn(X, y)
    assert np.isfinite(theta_of(stream)).all()


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("value", [1e160, -1e300])
def test_a_value_whose_square_overflows_is_refused(name: str, value: float) -> None:
    X, y = rows(600)
    X[300, 0] = value
    with pytest.raises(InputError, match=r"^a value above 1e150 in the rows: .* scale the column, begin anew$"):
        begun(LEARNERS[name]).learn(np.vstack([X, X, X]), np.vstack([y, y, y]))


@pytest.mark.parametrize("name", LEARNERS)
def test_no_rows_and_no_weight(name: str) -> None:
    stream = begun(LEARNERS[name])
    assert not theta_of(stream).any()
    stream.learn(np.zeros((0, 4)), np.zeros((0, 1)))
    X, y = rows(300)
    stream.learn(X, y, np.zeros(300))
    assert not theta_of(stream).any()
    assert stream.answer().progressive.weight == 0
    stream.learn(X, y)
    assert theta_of(stream).any()


@pytest.mark.parametrize("name", LEARNERS)
def test_what_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"^l1 or bounds: .* takes l2 alone; set l1=0, or fit without streaming$"):
        LEARNERS[name].begin(3, 2, ElasticNet(l1=1.0))


def test_too_many_coefficients_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"^2,002 coefficients: .* at most 2,000, .* hash into fewer columns, or use"):
        StreamingNewton().begin(1000, 3, ElasticNet(l2=1.0))


# -- going on from a model -------------------------------------------------------------------------------------


def test_a_model_of_many_rows_is_hardly_moved_by_a_few() -> None:
    X, y = rows(400, seed=9)
    params = begun_answer().params
    old = np.concatenate([params.coef.numpy(), params.intercept.numpy()[None]])
    moved = []
    for weight in (1e6, 1e3, 10.0):
        stream = begun(NEWTON_ALONE, start=Start(params, weight))
        np.testing.assert_array_equal(theta_of(stream), old)
        stream.learn(X, 1 - y)  # rows that say the opposite
        moved.append(np.abs((theta_of(stream) - old) * np.append(SCALES, 1)[:, None]).max())
    assert moved[0] < 0.01
    assert 10 * moved[0] < moved[1] < 0.7 * moved[2]


def test_going_on_from_a_model_is_close_to_learning_from_all_rows() -> None:
    """A model of the first half, certified by nobody but at its optimum, and then the second half."""
    X, y = rows(3000, seed=10)
    reference = NewtonModel.empty(5)
    design, precision = np.column_stack([X, np.ones(3000)]), np.array([1.0, 1.0, 1.0, 1.0, 1e-9])
    reference.join(design[:1500], y[:1500, 0], np.ones(1500), precision)
    half = torch.from_numpy(reference.theta)
    stream = begun(NEWTON_ALONE, start=Start(Params(half[:4, None], half[4:]), 1500.0))
    stream.learn(X[1500:], y[1500:])
    whole = NewtonModel.empty(5)
    whole.join(design, y[:, 0], np.ones(3000), precision)
    errors = standard_errors(X, y, np.ones(3000), whole.theta)
    apart = [np.abs(theta - whole.theta) / errors for theta in (theta_of(stream)[:, 0], reference.theta)]
    assert apart[0].max() < 0.5
    assert apart[0].max() < 0.5 * apart[1].max()


def test_a_wide_stream_goes_on_from_a_model_too() -> None:
    X, y = rows(800, seed=9)
    first = begun(NEWTON_ALONE)
    first.learn(X[:400], y[:400])
    params = first.answer().params
    stream, unknowing = begun(ScaleFree(), start=Start(params, 400.0)), begun(ScaleFree())
    np.testing.assert_allclose(theta_of(stream)[:4], params.coef.numpy())
    for learning in (stream, unknowing):
        learning.learn(X[400:], y[400:])
    assert stream.answer().progressive.log_loss < unknowing.answer().progressive.log_loss
