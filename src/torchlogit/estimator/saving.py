"""A fitted estimator as a model: coefficients, encoder, classes, and what is on record about how they came to be."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from torchlogit.data.encoding.encoder import Encoder
from torchlogit.errors import InputError
from torchlogit.estimator.classifier import LogisticRegression
from torchlogit.estimator.problem import plain
from torchlogit.estimator.table_encoder import TableEncoder
from torchlogit.inference import Covariance
from torchlogit.model import Facts, LogisticModel, intercept_at
from torchlogit.records import Certificate


def save(fitted: LogisticRegression | Pipeline, path: str | Path, *, target: str | None = None) -> None:
    """Writes a fitted LogisticRegression, or a Pipeline of a TableEncoder and one, as a model file."""
    to_model(fitted, target=target).save(path)


def to_model(fitted: LogisticRegression | Pipeline, *, target: str | None = None) -> LogisticModel:
    """The model that a fitted LogisticRegression, or a Pipeline of a TableEncoder and one, has learned."""
    encoder, classifier = _parts(fitted)
    check_is_fitted(classifier)
    if encoder is None:
        return model_of(classifier, None, target=target)
    check_is_fitted(encoder)
    return model_of(classifier, encoder._encoder, target=target)


def model_of(classifier: LogisticRegression, encoder: Encoder | None, *, target: str | None) -> LogisticModel:
    """The model of a fitted classifier, and of the encoder of its features where there is one."""
    if not hasattr(classifier, "training_data_"):
        raise InputError("taken over from torch, and not fitted: a model needs data and a certificate; fit it first")
    names = (
        encoder.schema.feature_names
        if encoder is not None
        else getattr(classifier, "feature_names_in_", [f"x{j}" for j in range(classifier.n_features_in_)])
    )
    return LogisticModel(
        coef=classifier.coef_.T.copy(),
        intercept=classifier.intercept_.copy(),
        classes=tuple(plain(label) for label in classifier.classes_),
        feature_names=tuple(str(name) for name in names),
        encoder=encoder,
        facts=_facts(encoder, classifier, target),
        state=None if (learning := getattr(classifier, "_learning", None)) is None else learning.record(),
    )


def _parts(fitted: LogisticRegression | Pipeline) -> tuple[TableEncoder | None, LogisticRegression]:
    if isinstance(fitted, LogisticRegression):
        return None, fitted
    steps = [step for _, step in fitted.steps] if isinstance(fitted, Pipeline) else []
    if len(steps) == 2 and isinstance(steps[0], TableEncoder) and isinstance(steps[1], LogisticRegression):
        return steps[0], steps[1]
    raise InputError(
        f"{type(fitted).__name__}: expected a LogisticRegression, or a Pipeline of a TableEncoder and one; "
        "save other pipelines with their own library"
    )


def _facts(encoder: Encoder | None, classifier: LogisticRegression, target: str | None) -> Facts:
    certificate: Certificate = classifier.certificate_
    separation = certificate.separation
    return Facts(
        target=target,
        penalty=_penalty_facts(classifier),
        solver={"name": type(classifier.solver_).__name__, "passes": classifier.n_iter_, "tol": classifier.tol},
        certificate={
            "status": str(certificate.status),
            "objective": certificate.objective,
            "bound": certificate.bound,
            "relative_bound": certificate.relative_bound,
            "standard_errors": certificate.standard_errors,
            "message": certificate.message,
            "separation": None
            if separation is None
            else {"complete": separation.complete, "directions": [list(place) for place in separation.directions]},
        },
        training_data=classifier.training_data_,
        standard_errors=_standard_errors(encoder, classifier),
        versions={name: version(name) for name in ("torchlogit", "torch", "numpy", "scikit-learn", "pyarrow")},
    )


def _penalty_facts(classifier: LogisticRegression) -> dict[str, Any]:
    """The strengths, and by column, where they were given, the factors and the bounds (None: no bound)."""
    penalty = classifier._penalty(classifier.n_features_in_)
    facts: dict[str, Any] = {"l1": penalty.l1, "l2": penalty.l2}
    for name in ("factors", "lower", "upper"):
        values = getattr(penalty, name)
        if values is not None:
            facts[name] = [value if np.isfinite(value) else None for value in values.tolist()]
    return facts


def _standard_errors(encoder: Encoder | None, classifier: LogisticRegression) -> dict[str, Any]:
    """Of the coefficients as they are, and of the intercept where the table is zero, as lists; or the reason."""
    known = classifier.covariance_
    if not isinstance(known, Covariance):
        return {"reason": known.reason}
    p = classifier.n_features_in_ + int(classifier.fit_intercept)
    rows = torch.eye(p, dtype=torch.float64)
    if classifier.fit_intercept:
        zero = np.zeros(classifier.n_features_in_) if encoder is None else intercept_at(encoder)
        rows[-1, :-1] = torch.from_numpy(zero - classifier._center)
    errors = known.errors_of(rows)
    listed = [[None if np.isnan(value) else value for value in row] for row in errors.tolist()]
    if not classifier.fit_intercept:
        return {"coef": listed, "intercept": [None] * errors.shape[1]}
    return {"coef": listed[:-1], "intercept": listed[-1]}
