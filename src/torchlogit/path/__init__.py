"""A whole path of penalties trained together, what each should cost on rows not seen, and the one to take."""

from torchlogit.path.curve import WORDS, By, Path, PathPoint, certified, curve
from torchlogit.path.measures import Folds, LeaveOneOut, Measure, Validation
from torchlogit.path.trace import parameters, trace

__all__ = [
    "WORDS",
    "By",
    "Folds",
    "LeaveOneOut",
    "Measure",
    "Path",
    "PathPoint",
    "Validation",
    "certified",
    "curve",
    "parameters",
    "trace",
]
