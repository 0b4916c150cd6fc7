"""scikit-learn's face: the estimator, how its data become an objective, what is said of its answer, its model."""

from torchlogit.estimator.classifier import LogisticRegression, fit_rows
from torchlogit.estimator.explanation import explain
from torchlogit.estimator.partial import go_on, learn_blocks
from torchlogit.estimator.path import LogisticRegressionPath
from torchlogit.estimator.problem import table_rows
from torchlogit.estimator.saving import model_of, save, to_model

__all__ = [
    "LogisticRegression",
    "LogisticRegressionPath",
    "explain",
    "fit_rows",
    "go_on",
    "learn_blocks",
    "model_of",
    "save",
    "table_rows",
    "to_model",
]
