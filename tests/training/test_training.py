"""The engine below both faces: settings and rows in, a Fitted out, and what is made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from classification import rows
from torchlogit import InputError, LogisticRegression, load
from torchlogit.cli import train as train_command
from torchlogit.data.targets import labels
from torchlogit.records import FitProgress
from torchlogit.streaming.loop import StreamProgress
from torchlogit.training.fitted import Fitted, StartingPoint
from torchlogit.training.one_pass import train_one_pass
from torchlogit.training.rows import LabelledRows
from torchlogit.training.settings import SOLVERS, Settings
from torchlogit.training.to_model import starting_point, to_model
from torchlogit.training.train import train


def labelled(n_classes: int = 2, n: int = 200) -> LabelledRows:
    X, y = rows(n_classes, n=n)
    return LabelledRows.of(X, labels(y), np.ones(n))


def same(fitted: Fitted, model: LogisticRegression) -> bool:
    return np.array_equal(fitted.coef, model.coef_.T) and np.array_equal(fitted.intercept, model.intercept_)


def test_the_command_line_knows_every_solver() -> None:
    assert set(train_command.SOLVERS) == set(SOLVERS)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("changes", [{}, {"l1": 0.5}, {"l2": "auto"}, {"solver": "streaming"}, {"l2": 0.0}])
def test_the_estimator_is_a_face_of_it(n_classes: int, changes: dict[str, Any]) -> None:
    given = labelled(n_classes)
    fitted = train(Settings(**changes), given)
    model = LogisticRegression(**changes).fit(*rows(n_classes, n=200))
    assert same(fitted, model)
    assert fitted.certificate == model.certificate_
    assert fitted.rows == model.training_data_
    assert fitted.penalty.l2 == model.l2_
    assert fitted.solver_name == type(model.solver_).__name__


@pytest.mark.parametrize("changes", [{"l2": "auto"}, {"solver": "streaming"}])
def test_a_fit_forgets_what_only_the_fit_before_it_had(changes: dict[str, Any]) -> None:
    X, y = rows()
    model = LogisticRegression(**changes).fit(X, y)
    assert hasattr(model, "path_") or hasattr(model, "progressive_")
    model.set_params(l2=1.0, solver="auto").fit(X, y)
    assert vars(model).keys() == vars(LogisticRegression().fit(X, y)).keys()


def test_monitors_are_shown_coefficients_for_the_columns_as_they_are() -> None:
    """Of a column far from zero, which the fit centres."""
    X, y = rows(n=200)
    X = X + np.array([1e9, 0.0, 0.0])
    seen: list[FitProgress] = []
    fitted = train(Settings(), LabelledRows.of(X, labels(y), np.ones(200)), monitors=[seen.append])
    assert fitted.center is not None
    assert len(seen) == len(fitted.history)
    assert np.array_equal(seen[-1].params.coef.numpy(), fitted.coef)
    assert np.array_equal(seen[-1].params.intercept.numpy(), fitted.intercept)


def test_a_monitor_ends_a_fit_and_a_stream() -> None:
    given, seen = labelled(), list[StreamProgress]()
    fitted = train(Settings(tol=1e-14), given, monitors=[lambda progress: True])
    assert len(fitted.history) == 1
    assert fitted.certificate.message.startswith("stopped by a monitor; ")
    blocks = [labelled(n=n) for n in (50, 60, 70)]

    def second(progress: StreamProgress) -> bool:
        seen.append(progress)
        return len(seen) == 2

    once = train_one_pass(Settings(), blocks, 3, np.array([0, 1]), monitors=[second])
    assert once.rows is not None
    assert once.rows["rows"] == 110


def test_a_model_is_a_starting_point_and_gives_what_the_fit_would_have() -> None:
    settings, classes = Settings(), np.array([0, 1])
    blocks = [labelled(n=n) for n in (500, 300)]
    whole = train_one_pass(settings, blocks, 3, classes)
    first = train_one_pass(settings, blocks[:1], 3, classes)
    start = starting_point(to_model(first))
    assert start.weight == 500
    further = train_one_pass(settings, blocks[1:], 3, classes, start=start)
    assert np.array_equal(further.coef, whole.coef)
    assert further.rows == whole.rows


def test_a_start_that_is_worse_than_nothing_is_not_used() -> None:
    given = labelled()
    bad = StartingPoint(np.full((3, 1), 1e6), np.zeros(1), np.array([0, 1]))
    assert np.array_equal(train(Settings(), given, start=bad).coef, train(Settings(), given).coef)


def test_coefficients_that_a_user_has_set_are_saved(tmp_path: Path) -> None:
    X, y = rows()
    model = LogisticRegression().fit(X, y)
    model.coef_ = np.array([[1.0, 2.0, 3.0]])
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").coef.ravel().tolist() == [1.0, 2.0, 3.0]


def test_what_no_data_has_measured_cannot_go_on_in_one_pass() -> None:
    model = LogisticRegression.from_torch(torch.nn.Linear(3, 1))
    with pytest.raises(InputError, match=r"^taken over from torch: the weight of the rows behind them is unknown"):
        model.partial_fit(*rows())
    assert model.set_params(warm_start=True).fit(*rows()).certificate_.status == "certified"
