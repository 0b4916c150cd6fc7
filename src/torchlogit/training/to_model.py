"""`to_model` turns a `Fitted` into a LogisticModel; `starting_point` gives the start of further training of a model."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from torchlogit.data.encoding.encoder import Encoder
from torchlogit.errors import InputError
from torchlogit.inference import Covariance
from torchlogit.model import Facts, LogisticModel, features_of_zeros
from torchlogit.penalties import ElasticNet
from torchlogit.records import Certificate
from torchlogit.training.fitted import Fitted, StartingPoint
from torchlogit.training.rows import plain_label

LIBRARIES = ("torchlogit", "torch", "numpy", "scikit-learn", "pyarrow")  # a model file records their versions


def to_model(
    fitted: Fitted,
    encoder: Encoder | None = None,
    *,
    feature_names: Sequence[str] | None = None,
    target: str | None = None,
) -> LogisticModel:
    """The LogisticModel of a fit.

    encoder: the encoder of the table that the rows come from, if they do. feature_names: names for rows without an
    encoder; by default x0, x1, ... target: the name of the target column. Raises InputError for classes that are not
    text, numbers or booleans, and for a model that was not fitted to rows.
    """
    if fitted.rows is None:
        raise InputError("taken over from torch, and not fitted: a model needs data and a certificate; fit it first")
    if encoder is not None:
        feature_names = encoder.schema.feature_names
    elif feature_names is None:
        feature_names = [f"x{j}" for j in range(len(fitted.coef))]
    facts = Facts(
        target=target,
        penalty=_penalty_facts(fitted.penalty),
        solver={"name": fitted.solver_name, "passes": fitted.passes, "tol": fitted.tol},
        certificate=_certificate_facts(fitted.certificate),
        training_data=fitted.rows,
        standard_errors=_standard_errors(fitted, encoder),
        versions={name: version(name) for name in LIBRARIES},
    )
    return LogisticModel(
        coef=fitted.coef.copy(),
        intercept=fitted.intercept.copy(),
        classes=tuple(plain_label(label) for label in fitted.classes),
        feature_names=tuple(str(name) for name in feature_names),
        encoder=encoder,
        facts=facts,
        center=fitted.center,
        state=None if fitted.stream is None else fitted.stream.record(),
    )


def starting_point(model: LogisticModel) -> StartingPoint:
    """The point from which training continues the model; InputError if its stream is of an unknown kind."""
    from torchlogit.training.running_stream import RunningStream

    return StartingPoint(
        model.coef,
        model.intercept,
        np.array(model.classes, dtype=object),
        weight=float(model.facts.training_data["weight"]),
        l2=model.facts.penalty["l2"],
        stream=None if model.state is None else RunningStream.resume(model.state),
    )


def _certificate_facts(certificate: Certificate) -> dict[str, Any]:
    separation = certificate.separation
    return {
        "status": str(certificate.status),
        "objective": certificate.objective,
        "bound": certificate.bound,
        "relative_bound": certificate.relative_bound,
        "standard_errors": certificate.standard_errors,
        "message": certificate.message,
        "collinear": [[r.column, [list(part) for part in r.others]] for r in certificate.collinear],
        "separation": None
        if separation is None
        else {
            "complete": separation.complete,
            "directions": [list(place) for place in separation.directions],
            "intercepts": [list(place) for place in separation.intercepts],
        },
    }


def _penalty_facts(penalty: ElasticNet) -> dict[str, Any]:
    """l1 and l2, and lists of the factors and bounds per column if they were given; None stands for no bound."""
    facts: dict[str, Any] = {"l1": penalty.l1, "l2": penalty.l2}
    for name in ("factors", "lower", "upper"):
        values = getattr(penalty, name)
        if values is not None:
            facts[name] = [value if np.isfinite(value) else None for value in values.tolist()]
    return facts


def _standard_errors(fitted: Fitted, encoder: Encoder | None) -> dict[str, Any]:
    """Standard errors as lists, or the reason why there are none; those of the intercept are for a row of zeros.

    Where columns are collinear, also their relations, and the errors of contrasts: differences of two coefficients.
    """
    covariance, n_features = fitted.covariance, len(fitted.coef)
    if not isinstance(covariance, Covariance):
        return {"reason": covariance.reason}
    one = torch.eye(n_features + int(fitted.has_intercept), dtype=torch.float64)
    contrasts = _contrasts(covariance, encoder)
    combinations = torch.cat([one, *(one[[j]] - one[[first]] for j, first in contrasts)])
    if fitted.has_intercept:
        zeros = np.zeros(n_features) if encoder is None else features_of_zeros(encoder)
        combinations[n_features, :-1] = torch.from_numpy(zeros)
    errors = covariance.errors_of(combinations)
    listed = [[None if np.isnan(value) else value for value in row] for row in errors.tolist()]
    facts = {"coef": listed[:n_features], "intercept": [None] * errors.shape[1]}
    if fitted.has_intercept:
        facts["intercept"] = listed[n_features]
    if covariance.relations:
        facts["collinear"] = [[each.column, [list(term) for term in each.others], each.exact]
                              for each in covariance.relations]  # fmt: skip
        facts["contrasts"] = [[j, first, row] for (j, first), row in zip(contrasts, listed[len(one) :], strict=True)]
    return facts


def _contrasts(covariance: Covariance, encoder: Encoder | None) -> list[tuple[int, int]]:
    """Pairs of features of the same unit, of which the data determine the difference of the coefficients only."""
    units = None if encoder is None else encoder.schema.units
    return [(j, first) for j, first in covariance.contrasts() if units is None or units[j] == units[first]]
