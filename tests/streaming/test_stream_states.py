"""The names that model files hold a stream's state under: a contract, whatever the code calls these arrays."""

from __future__ import annotations

import numpy as np
import pytest

from torchlogit import ScaleFree, StreamingNewton
from torchlogit.penalties import ElasticNet
from torchlogit.records import Params
from torchlogit.streaming.stream import Start

PROGRESSIVE = {f"progressive_{name}" for name in ("batches", "histogram", "totals", "waiting")}
EXPERTS = {"belief", "trust", "recent"}
EXPERTS |= {f"share_{name}" for name in ("batches", "belief", "counts", "seen", "totals", "waiting")}
NEWTON = {"A", "b", "theta", "mean", "mean_weight", "effective", "typical", "trace", "seen", "center"}
NEWTON |= {"coef", "intercept", "moment", "moment_weight", "X", "target", "weight", "offset", "precision"}
SCALE_FREE = {"totals", "scale", "squares", "coef", "drawn", "said", "wanted", "weight", "lost", "precision"}
SCALE_FREE |= {"lost_by_share"}
START = {"start_coef", "start_intercept"}


def learned(learner: StreamingNewton | ScaleFree, start: Start | None = None, n: int = 300):  # type: ignore[no-untyped-def]
    random = np.random.default_rng(0)
    stream = learner.begin(2, 2, ElasticNet(l2=1.0), start=start)
    stream.learn(random.standard_normal((n, 2)), random.integers(0, 2, (n, 1)).astype(float))
    return stream


def a_start() -> Start:
    answer = learned(StreamingNewton()).answer()
    return Start(Params(answer.params.coef, answer.params.intercept), 300.0)


def test_the_names_of_a_newton_stream() -> None:
    record = learned(StreamingNewton()).record()
    assert set(record.arrays) == PROGRESSIVE | EXPERTS | NEWTON
    assert record.facts == {
        "learner": "StreamingNewton",
        "kappas": [0.0, 1.0],
        "windows": [16384.0, 1024.0],
        "rates": [8.0, 1.0, 0.125, 0.015625],
        "n_classes": 2,
        "intercept": True,
    }


def test_the_names_of_a_scale_free_stream() -> None:
    record = learned(ScaleFree()).record()
    assert set(record.arrays) == PROGRESSIVE | EXPERTS | SCALE_FREE
    assert record.facts == {
        "learner": "ScaleFree",
        "rates": [0.25, 1.0, 4.0, 16.0],
        "n_classes": 2,
        "intercept": True,
    }


def test_a_newton_stream_s_start_is_in_its_record() -> None:
    record = learned(StreamingNewton(), a_start(), n=10).record()
    assert set(record.arrays) == PROGRESSIVE | EXPERTS | NEWTON | START
    assert record.facts["start_weight"] == 300.0


@pytest.mark.parametrize(
    ("learner", "shapes"),
    [
        (StreamingNewton(), {"seen": (3,), "A": (4, 3, 3), "coef": (4, 1, 2), "X": (44, 2), "belief": (2, 8)}),
        (ScaleFree(), {"totals": (4,), "coef": (3, 4, 1), "drawn": (3, 4, 1), "said": (44, 1), "lost": (44,)}),
    ],
    ids=["newton", "scale-free"],
)
def test_names_stand_for_the_same_arrays(
    learner: StreamingNewton | ScaleFree, shapes: dict[str, tuple[int, ...]]
) -> None:
    arrays = learned(learner).record().arrays
    assert {name: arrays[name].shape for name in shapes} == shapes
