"""Metrics of predictions, computed from sums over rows: the sums of blocks, or of processes, are added."""

from torchlogit.metrics.calibration import Reliability
from torchlogit.metrics.ranking import Ranking
from torchlogit.metrics.sums import Metrics, MetricSums, targets

__all__ = ["MetricSums", "Metrics", "Ranking", "Reliability", "targets"]
