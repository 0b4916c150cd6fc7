"""Turns fitted estimators and pipelines into models and model files."""

from __future__ import annotations

from pathlib import Path

from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from torchlogit.errors import InputError
from torchlogit.estimator.classifier import LogisticRegression
from torchlogit.estimator.table_encoder import TableEncoder
from torchlogit.model import LogisticModel


def save(fitted: LogisticRegression | Pipeline, path: str | Path, *, target: str | None = None) -> None:
    """Write a fitted LogisticRegression, or a Pipeline of a TableEncoder and one, as a model file.

    Parameters
    ----------
    fitted : LogisticRegression or Pipeline
        The estimator; a Pipeline has exactly these two steps.
    path : str or Path
        The file to write. An existing file is replaced only when the new one is complete.
    target : str, optional
        The name of the column that is predicted.

    Raises
    ------
    InputError
        For other pipelines, for classes that are not text, numbers or booleans, and for coefficients that are not
        finite.
    """
    to_model(fitted, target=target).save(path)


def to_model(fitted: LogisticRegression | Pipeline, *, target: str | None = None) -> LogisticModel:
    """The model of a fitted LogisticRegression, or of a Pipeline of a TableEncoder and one."""
    if isinstance(fitted, LogisticRegression):
        return fitted._as_model(target=target)
    steps = [step for _, step in fitted.steps] if isinstance(fitted, Pipeline) else []
    if len(steps) == 2 and isinstance(steps[0], TableEncoder) and isinstance(steps[1], LogisticRegression):
        check_is_fitted(steps[0])
        return steps[1]._as_model(steps[0]._encoder, target)
    raise InputError(
        f"{type(fitted).__name__}: expected a LogisticRegression, or a Pipeline of a TableEncoder and one; "
        "save other pipelines with their own library"
    )
