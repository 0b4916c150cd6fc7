"""Logistic regression by stochastic gradients, with nothing to tune and a proof of how good the answer is.

Public names are imported on first use, so that `import torchlogit` alone imports neither torch nor numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torchlogit.data.loading import load_table
    from torchlogit.data.reading.svmlight import load_svmlight
    from torchlogit.errors import (
        CheckpointError,
        DataError,
        DivergedError,
        InputError,
        ModelFileError,
        TorchlogitError,
        TorchlogitWarning,
    )
    from torchlogit.estimator import LogisticRegression, LogisticRegressionPath, save
    from torchlogit.estimator.table_encoder import TableEncoder
    from torchlogit.model import LogisticModel, load
    from torchlogit.nn import LogisticHead, LogisticLoss
    from torchlogit.path import L2Choice
    from torchlogit.records import Certificate, Status
    from torchlogit.solvers.dual.dual_ascent import DualAscent
    from torchlogit.solvers.dual.softmax_ascent import SoftmaxAscent
    from torchlogit.solvers.newton.stochastic_newton import StochasticNewton
    from torchlogit.solvers.stochastic.sgd import SGD
    from torchlogit.solvers.stochastic.tuning_free import SAGA, DoG, ImplicitSGD
    from torchlogit.streaming.newton import StreamingNewton
    from torchlogit.streaming.scale_free import ScaleFree

__version__ = "0.1.0"

_HOMES = {
    "Certificate": "records",
    "CheckpointError": "errors",
    "DataError": "errors",
    "DivergedError": "errors",
    "DoG": "solvers.stochastic.tuning_free",
    "DualAscent": "solvers.dual.dual_ascent",
    "ImplicitSGD": "solvers.stochastic.tuning_free",
    "InputError": "errors",
    "LogisticHead": "nn",
    "LogisticLoss": "nn",
    "LogisticModel": "model",
    "L2Choice": "path",
    "LogisticRegression": "estimator",
    "LogisticRegressionPath": "estimator",
    "ModelFileError": "errors",
    "SAGA": "solvers.stochastic.tuning_free",
    "SGD": "solvers.stochastic.sgd",
    "ScaleFree": "streaming.scale_free",
    "SoftmaxAscent": "solvers.dual.softmax_ascent",
    "Status": "records",
    "StochasticNewton": "solvers.newton.stochastic_newton",
    "StreamingNewton": "streaming.newton",
    "TableEncoder": "estimator.table_encoder",
    "TorchlogitError": "errors",
    "TorchlogitWarning": "errors",
    "load": "model",
    "load_svmlight": "data.reading.svmlight",
    "load_table": "data.loading",
    "save": "estimator",
}

__all__ = [
    "SAGA",
    "SGD",
    "Certificate",
    "CheckpointError",
    "DataError",
    "DivergedError",
    "DoG",
    "DualAscent",
    "ImplicitSGD",
    "InputError",
    "L2Choice",
    "LogisticHead",
    "LogisticLoss",
    "LogisticModel",
    "LogisticRegression",
    "LogisticRegressionPath",
    "ModelFileError",
    "ScaleFree",
    "SoftmaxAscent",
    "Status",
    "StochasticNewton",
    "StreamingNewton",
    "TableEncoder",
    "TorchlogitError",
    "TorchlogitWarning",
    "__version__",
    "load",
    "load_svmlight",
    "load_table",
    "save",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'torchlogit' has no attribute {name!r}")
    return getattr(import_module(f"torchlogit.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
