"""A whole path of penalties trained together, what each should cost on rows not seen, and the one to take."""

from torchlogit.path.batch import with_l2
from torchlogit.path.choice import L2Choice, choose
from torchlogit.path.curve import WORDS, By, PathPoint, PenaltyPath, certified, curve
from torchlogit.path.measures import Folds, LeaveOneOut, Measure, Validation
from torchlogit.path.trace import parameters, trace

__all__ = [
    "WORDS",
    "By",
    "Folds",
    "L2Choice",
    "LeaveOneOut",
    "Measure",
    "PathPoint",
    "PenaltyPath",
    "Validation",
    "certified",
    "choose",
    "curve",
    "parameters",
    "trace",
    "with_l2",
]
