"""Metrics of predictions, computed from sums over rows, so that sums of several blocks or processes can be added."""

from torchlogit.metrics.calibration import Reliability
from torchlogit.metrics.ranking import Ranking
from torchlogit.metrics.sums import Metrics, MetricSums, targets

__all__ = ["MetricSums", "Metrics", "Ranking", "Reliability", "targets"]
