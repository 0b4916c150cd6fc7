"""The notebook that this library grew from: logistic regression by plain stochastic gradient descent.

    x runs from -2 to 2;   y = 1 where b + w x + sigma noise > 0, else 0
    P(y = 1 | x) = 1 / (1 + exp(-(weight x + bias)))

In the order of the file: the data, the model, the training loop, the parameters and the accuracy that it reaches, the
whole experiment, and a picture of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from torchlogit.pictures import BLUE, GREY, ORANGE, Axis, Line, Panel, Points, picture


class NoisyThreshold(Dataset[tuple[Tensor, Tensor]]):
    """400 rows (x, y) with y = 1 where b + w x + sigma noise > 0, and y = 0 elsewhere.

    x and y have shape (400, 1), float32; those of a row have shape (1,). The noise is standard normal, drawn from
    torch's global generator when the object is made.

    >>> data = NoisyThreshold(sigma=0.0)
    >>> len(data), data[399]
    (400, (tensor([1.9900]), tensor([1.])))
    """

    def __init__(self, b: float = 0.0, w: float = 1.0, sigma: float = 0.1) -> None:
        self.x = torch.arange(-2, 2, 0.01).view(-1, 1)
        noise = torch.randn(self.x.shape)
        self.y = (b + w * self.x + sigma * noise > 0).float()

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        return self.x[row], self.y[row]

    def __len__(self) -> int:
        return len(self.x)


class LogisticModule(nn.Module):
    """The probability that y = 1: sigmoid(weight x + bias), from x of shape (rows, 1) to shape (rows, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        probability: Tensor = self.sigmoid(self.linear(x))
        return probability


@dataclass(frozen=True, slots=True)
class History:
    """Losses by epoch: the loss of the epoch's last batch, and the mean loss over the epoch's rows.

    The loss of a batch is computed before the step that is made with it.
    """

    last_batch_losses: tuple[float, ...]
    mean_losses: tuple[float, ...]


def train(
    model: nn.Module,
    criterion: Callable[[Tensor, Tensor], Tensor],
    data_loader: DataLoader[tuple[Tensor, Tensor]],
    n_epochs: int,
    learning_rate: float,
) -> History:
    """Train `model` in place by stochastic gradient descent, one step per batch, and return the losses.

        parameters <- parameters - learning_rate * gradient of criterion(model(x), y)

    `criterion` averages over the rows of a batch, as `nn.BCELoss()` does.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
    last_batch_losses = []
    mean_losses = []
    for _ in range(n_epochs):
        losses = []
        sizes = []
        for x, y in data_loader:
            loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
            sizes.append(len(y))
        last_batch_losses.append(losses[-1])
        mean_losses.append(sum(loss * size for loss, size in zip(losses, sizes, strict=True)) / sum(sizes))
    return History(tuple(last_batch_losses), tuple(mean_losses))


def parameters(model: LogisticModule) -> tuple[float, float]:
    """The weight and the bias that `model` has learnt."""
    return model.linear.weight.item(), model.linear.bias.item()


def accuracy(model: LogisticModule, dataset: NoisyThreshold) -> float:
    """The share of rows whose y is predicted: 1 where the probability is above one half, else 0."""
    with torch.no_grad():
        predicted = model(dataset.x) > 0.5
    return int((predicted == dataset.y.bool()).sum()) / len(dataset)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of the experiment."""

    seed: int = 1
    batch_size: int = 5
    n_epochs: int = 20
    learning_rate: float = 0.05


@dataclass(frozen=True, slots=True)
class Experiment:
    """The result of the experiment. accuracy: on `fresh_data`, which was drawn separately and not trained on."""

    settings: Settings
    training_data: NoisyThreshold
    fresh_data: NoisyThreshold
    history: History
    weight: float
    bias: float
    accuracy: float


def experiment(seed: int = 1) -> Experiment:
    """Run the notebook's cells in their order: draw data, train for 20 epochs, draw new data, measure the accuracy.

    The state of torch's global generator is restored afterwards.

    >>> found = experiment()
    >>> print(f"{found.weight:.3f} {found.bias:.3f} {found.accuracy}")
    4.431 0.243 0.98
    """
    settings = Settings(seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        training_data = NoisyThreshold()
        data_loader = DataLoader(training_data, batch_size=settings.batch_size)
        # The notebook printed its batches here. Iterating draws a number from the generator, and the model's initial
        # parameters are drawn after it: without this line they would be different.
        list(data_loader)
        model = LogisticModule()
        history = train(model, nn.BCELoss(), data_loader, settings.n_epochs, settings.learning_rate)
        fresh_data = NoisyThreshold()
    weight, bias = parameters(model)
    return Experiment(settings, training_data, fresh_data, history, weight, bias, accuracy(model, fresh_data))


@dataclass(frozen=True, slots=True)
class Curve:
    """Another fit to draw beside the experiment's: its label, weight and bias."""

    label: str
    weight: float
    bias: float


def picture_of(experiment: Experiment, other: Curve | None = None) -> str:
    """An SVG picture of the experiment: the data with the fitted probabilities, and the loss by epoch.

    other: a second fit whose probabilities are drawn as well.

    >>> picture_of(experiment())[:4]
    '<svg'
    """
    settings = experiment.settings
    x = experiment.training_data.x.flatten().tolist()
    y = experiment.training_data.y.flatten().tolist()
    fits = [Line(x, _probabilities(x, experiment.weight, experiment.bias), f"SGD, {settings.n_epochs} epochs", BLUE)]
    if other is not None:
        fits.append(Line(x, _probabilities(x, other.weight, other.bias), other.label, ORANGE, dashed=True))
    data_panel = Panel(
        title="Data and fitted probability",
        x_axis=Axis("x"),
        y_axis=Axis("probability that y = 1"),
        marks=(Points(x, y, "rows", GREY), *fits),
    )

    history = experiment.history
    epochs = range(1, len(history.mean_losses) + 1)
    loss_panel = Panel(
        title="Loss by epoch",
        x_axis=Axis("epoch"),
        y_axis=Axis("log loss", "log"),
        marks=(
            Line(epochs, history.mean_losses, "mean over the rows", BLUE),
            Points(epochs, history.mean_losses, color=BLUE),
            Line(epochs, history.last_batch_losses, "last batch", ORANGE),
            Points(epochs, history.last_batch_losses, color=ORANGE),
        ),
    )
    return picture([data_panel, loss_panel])


def _probabilities(x: list[float], weight: float, bias: float) -> list[float]:
    # tanh cannot overflow; exp would if the other fit is steep.
    return [0.5 + 0.5 * math.tanh((weight * value + bias) / 2) for value in x]
