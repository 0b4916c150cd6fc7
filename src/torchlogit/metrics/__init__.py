"""Metrics of predictions: sums over rows, so that blocks and processes merge by addition."""

from torchlogit.metrics.calibration import Reliability
from torchlogit.metrics.ranking import Ranking
from torchlogit.metrics.sums import Metrics, MetricSums, targets

__all__ = ["MetricSums", "Metrics", "Ranking", "Reliability", "targets"]
