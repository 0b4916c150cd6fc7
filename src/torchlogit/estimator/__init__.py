"""The scikit-learn interface: estimators, conversion of their inputs, and saving."""

from torchlogit.estimator.classifier import LogisticRegression
from torchlogit.estimator.path import LogisticRegressionPath
from torchlogit.estimator.saving import save, to_model
from torchlogit.estimator.table_encoder import TableEncoder

__all__ = ["LogisticRegression", "LogisticRegressionPath", "TableEncoder", "save", "to_model"]
