"""The tutorial gives the notebook's figures, and its pieces do what they say."""

from __future__ import annotations

import math
import runpy
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from places import ROOT
from torchlogit.tutorial import (
    Curve,
    Experiment,
    LogisticModule,
    NoisyThreshold,
    Settings,
    accuracy,
    experiment,
    parameters,
    picture_of,
    train,
)

NOTEBOOK = ROOT / "examples" / "notebook.py"
# As the notebook printed them.
LAST_BATCH_LOSSES = (
    0.1400395185, 0.03897496313, 0.01665003225, 0.008784324862, 0.005244280212,
    0.003394478466, 0.002325858222, 0.001662470051, 0.001227716682, 0.0009306239663,
    0.0007206659066, 0.0005679914029, 0.0004545174597, 0.0003684128751, 0.0003020505537,
    0.0002500967239, 0.0002088884794, 0.0001758611469, 0.0001491658331, 0.0001272759691,
)  # fmt: skip
WEIGHT, BIAS, ACCURACY = 4.430608273, 0.2427944392, 0.98


@pytest.fixture(scope="module")
def found() -> Experiment:
    return experiment()


@pytest.fixture(autouse=True)
def _random_numbers_of_its_own() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        yield


def test_the_experiment_gives_the_published_figures(found: Experiment) -> None:
    assert found.settings == Settings(seed=1, batch_size=5, n_epochs=20, learning_rate=0.05)
    assert found.history.last_batch_losses == pytest.approx(LAST_BATCH_LOSSES, rel=1e-5)
    assert (found.weight, found.bias) == pytest.approx((WEIGHT, BIAS), rel=1e-5)
    assert found.accuracy == ACCURACY


def test_the_experiment_repeats_and_leaves_the_callers_random_numbers_alone(found: Experiment) -> None:
    before = torch.get_rng_state()
    again = experiment()
    assert torch.equal(torch.get_rng_state(), before)
    assert again.history == found.history
    assert (again.weight, again.bias, again.accuracy) == (found.weight, found.bias, found.accuracy)


def test_another_seed_is_another_experiment(found: Experiment) -> None:
    other = experiment(seed=2)
    assert other.settings.seed == 2
    assert other.weight != found.weight
    assert not torch.equal(other.training_data.y, found.training_data.y)


def test_fresh_data_is_a_second_draw(found: Experiment) -> None:
    assert torch.equal(found.fresh_data.x, found.training_data.x)
    assert not torch.equal(found.fresh_data.y, found.training_data.y)


def test_the_data_set_is_a_threshold_with_noise() -> None:
    data = NoisyThreshold()
    assert data.x.shape == data.y.shape == (400, 1)
    assert data.x.dtype == data.y.dtype == torch.float32
    assert set(data.y.flatten().tolist()) == {0.0, 1.0}
    x, y = data[0]
    assert (x.shape, y.shape) == ((1,), (1,))
    exact = NoisyThreshold(b=0.5, w=-1.0, sigma=0.0)
    assert torch.equal(exact.y, (exact.x < 0.5).float())


def trained(learning_rate: float, n_epochs: int = 1) -> tuple[float, float]:
    torch.manual_seed(3)
    model = LogisticModule()
    train(model, nn.BCELoss(), DataLoader(NoisyThreshold(), batch_size=5), n_epochs, learning_rate)
    return parameters(model)


def test_the_learning_rate_is_obeyed() -> None:
    torch.manual_seed(3)
    start = parameters(LogisticModule())
    assert trained(learning_rate=0.0) == start
    slow, fast = trained(learning_rate=0.01), trained(learning_rate=0.1)
    assert start[0] < slow[0] < fast[0]


def test_the_losses_and_steps_are_those_computed_by_hand() -> None:
    rate, sizes = 0.3, (150, 150, 100)
    data = NoisyThreshold()
    model = LogisticModule()
    weight, bias = parameters(model)
    history = train(model, nn.BCELoss(), DataLoader(data, batch_size=150), n_epochs=2, learning_rate=rate)

    x, y = data.x.flatten().double(), data.y.flatten().double()
    for epoch in range(2):
        losses = []
        for x_batch, y_batch in zip(x.split(150), y.split(150), strict=True):
            p = 1 / (1 + torch.exp(-(weight * x_batch + bias)))
            losses.append(-(y_batch * p.log() + (1 - y_batch) * (1 - p).log()).mean().item())
            weight -= rate * ((p - y_batch) * x_batch).mean().item()
            bias -= rate * (p - y_batch).mean().item()
        mean = sum(loss * size for loss, size in zip(losses, sizes, strict=True)) / 400
        assert history.mean_losses[epoch] == pytest.approx(mean, rel=1e-5)
        assert history.last_batch_losses[epoch] == pytest.approx(losses[-1], rel=1e-5)
    assert parameters(model) == pytest.approx((weight, bias), rel=1e-5)


def test_accuracy_counts_the_rows_predicted_right() -> None:
    model = LogisticModule()
    with torch.no_grad():
        model.linear.weight.fill_(1.0)
        model.linear.bias.fill_(-1.005)
    # y is 1 from the row x = 0.00 on, the model says 1 from 1.01 on: the 101 rows between are wrong.
    assert accuracy(model, NoisyThreshold(b=0.005, sigma=0.0)) == 299 / 400
    assert accuracy(model, NoisyThreshold(b=-1.005, sigma=0.0)) == 1.0


def test_the_picture_shows_data_fit_and_losses(found: Experiment) -> None:
    svg = picture_of(found)
    texts = {element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}
    assert {"rows", "SGD, 20 epochs", "mean over the rows", "last batch", "epoch", "log loss"} <= texts
    assert svg.count("<circle") >= 400 + 20 + 20
    assert svg == picture_of(found)


@pytest.mark.parametrize("weight", [17.3, -math.inf, 1e30])
def test_the_picture_takes_another_fit(found: Experiment, weight: float) -> None:
    svg = picture_of(found, Curve("certified <optimum>", weight=weight, bias=0.1))
    ElementTree.fromstring(svg)
    assert "certified &lt;optimum&gt;" in svg
    assert "nan" not in svg


def test_the_notebook_script_prints_the_same_figures(found: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(NOTEBOOK), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "400 rows in 80 batches"
    printed = [float(line.rsplit(maxsplit=1)[1]) for line in lines if line.startswith("epoch")]
    assert printed == pytest.approx(found.history.last_batch_losses, abs=5.1e-7)
    assert lines[-2:] == ["weight 4.4306  bias 0.2428", "accuracy on fresh data 0.9800"]
