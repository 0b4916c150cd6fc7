"""A path of l2 penalties: its fits, their estimated losses on new rows, and the choice among them."""

from torchlogit.path.batch import with_l2
from torchlogit.path.choice import L2Choice, choose
from torchlogit.path.curve import MEASURE_NAMES, By, PathPoint, PenaltyPath, certified, curve
from torchlogit.path.measures import Folds, LeaveOneOut, Measure, Validation
from torchlogit.path.trace import trace

__all__ = [
    "MEASURE_NAMES",
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
    "trace",
    "with_l2",
]
