"""torchlogit demo: the tutorial's experiment, compared with the exact fit of the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from torchlogit.training.fitted import Fitted
    from torchlogit.tutorial import Experiment


@click.command("demo")
@click.option("--picture", default="demo.svg", show_default=True, metavar="FILE", help="Where to write the picture.")
def command(picture: str) -> None:
    """Run the tutorial's experiment: 400 rows of a noisy threshold, 20 epochs of SGD, as in the notebook.

    Then fit the same rows exactly, and say how far the 20 epochs ended from the optimum, and how well these data
    determine the slope.
    """
    from torchlogit.atomic import write_atomically
    from torchlogit.errors import InputError
    from torchlogit.tutorial import Curve, experiment, picture_of

    if not picture.endswith(".svg"):
        raise InputError(f"{picture}: the picture is an SVG file; give a name that ends in .svg")
    run = experiment()
    click.echo(_epochs(run))
    click.echo(
        f"\nAfter {run.settings.n_epochs} epochs: weight {run.weight:.4f}, bias {run.bias:.4f}; "
        f"accuracy on a second draw of the data {run.accuracy:.3f}."
    )
    best = _maximum_likelihood(run)
    click.echo(f"\n{_distance(run, best)}\n{_slope(run, best)}")
    weight, bias = float(best.coef[0, 0]), float(best.intercept[0])
    write_atomically(Path(picture), picture_of(run, Curve("maximum likelihood", weight, bias)).encode())
    click.echo(f"\npicture      {picture}")


def _epochs(run: Experiment) -> str:
    lines = [f"{'epoch':>5} {'last batch':>12} {'mean loss':>12}"]
    losses = zip(run.history.last_batch_losses, run.history.mean_losses, strict=True)
    lines += [f"{epoch:>5} {last:>12.7f} {mean:>12.7f}" for epoch, (last, mean) in enumerate(losses, 1)]
    return "\n".join(lines)


def _maximum_likelihood(run: Experiment) -> Fitted:
    """The fit of the same rows without a penalty."""
    import numpy as np

    from torchlogit.data.targets import labels
    from torchlogit.training.rows import LabelledRows
    from torchlogit.training.settings import Settings
    from torchlogit.training.train import train

    X, y = run.training_data.x.numpy(), run.training_data.y.numpy().ravel()
    return train(Settings(l2=0.0), LabelledRows.of(X, labels(y), np.ones(len(y))))


def _total_loss(run: Experiment, weight: float, bias: float) -> float:
    """Minus the log-likelihood of the training rows, in nats."""
    from torchlogit.losses import Logistic

    data = run.training_data
    return float(Logistic().value(bias + weight * data.x.double(), data.y.double()).sum())


def _distance(run: Experiment, best: Fitted) -> str:
    """The sentences that compare the 20 epochs with the optimum, in mean loss and in weight."""
    n, certificate, weight = len(run.training_data.x), best.certificate, float(best.coef[0, 0])
    reached, optimum = _total_loss(run, run.weight, run.bias) / n, certificate.objective / n
    return (
        f"The exact fit of the same rows, without a penalty, took {best.passes:.0f} passes and is "
        f"{certificate.status}:\n"
        f"its mean loss of {optimum:.6f} is proven within {certificate.relative_bound:.1e} of the least.\n"
        f"The {run.settings.n_epochs} epochs ended at {reached:.6f}, {(reached - optimum) / optimum:.0%} above it, "
        f"with weight {run.weight:.2f} where {weight:.2f} is best."
    )


def _slope(run: Experiment, best: Fitted) -> str:
    """The sentence that says how well the data determine the slope."""
    low, high = _likelihood_interval(run, float(best.coef[0, 0]), best.certificate.objective)
    return (
        f"These {len(run.training_data.x)} rows hardly constrain the slope: any weight from {low:.1f} to {high:.1f} "
        f"explains them well enough (95%, by likelihood)."
    )


def _likelihood_interval(run: Experiment, weight: float, optimum: float) -> tuple[float, float]:
    """The weights at which twice the loss, minimised over the bias, is at most 3.84 above its minimum (Wilks 1938)."""
    from scipy.optimize import brentq, minimize_scalar
    from scipy.special import gammaincinv

    allowed = float(gammaincinv(0.5, 0.95))  # half of the 95% quantile of chi squared with one degree of freedom

    def excess(at: float) -> float:
        fitted = minimize_scalar(lambda bias: _total_loss(run, at, bias), bracket=(-1.0, 1.0))
        return float(fitted.fun) - optimum - allowed

    low, high = (float(brentq(excess, weight, weight * factor, rtol=1e-6)) for factor in (0.1, 10.0))
    return low, high
