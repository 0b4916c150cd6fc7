"""Models of streams as files of an earlier day hold them: they load, predict the same, and go on learning.

The two whose names end in "share" hold the class share's arrays; the others are older, and get a fresh class share.

tests/golden/stream-*.safetensors were written once, each by

    save(make_pipeline(TableEncoder(), LogisticRegression(solver=SOLVER)).fit(first_rows(), TARGET), path)

(the later two with TARGET taken out of the rows, as y) and must never be written again: a later format gets files of
its own beside them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open

from commands import torchlogit
from places import GOLDEN
from torchlogit import load

NEW = {"weight": [3.0, 25.0, None, 6.0], "indoors": ["yes", "no", None, "yes"]}
ROWS = {"pet": ["cat", "dog", "rabbit", "rabbit", "cat"], "small": ["yes", "no", "yes", "yes", "yes"]}
MORE = "weight,indoors,{target}\n4.1,yes,{0}\n21,no,{1}\n1.2,,{2}\n2.3,no,{3}\n,yes,{4}\n"


def first_rows(target: str, n: int = 300) -> dict[str, list[object]]:
    """The table that both models were trained on, with pets of three kinds that are small or not."""
    rng = np.random.default_rng(1)
    kind = rng.integers(0, 3, n)
    weight = np.round(np.array([4.0, 15.0, 2.0])[kind] * rng.lognormal(0, 0.6, n), 1)
    indoors = np.array(["yes", "no"])[(rng.random(n) < np.array([0.3, 0.7, 0.6])[kind]).astype(int)]
    pet = np.array(["cat", "dog", "rabbit"])[kind]
    labels = pet if target == "pet" else np.where(weight + rng.logistic(size=n) < 5, "yes", "no")
    return {
        "weight": [None if row % 11 == 0 else value for row, value in enumerate(weight.tolist())],
        "indoors": indoors.tolist(),
        target: labels.tolist(),
    }


PREDICTED = {
    "newton": [
        [0.3478809390, 0.0168139046, 0.6353051564],
        [0.0009523025, 0.9990159237, 0.0000317738],
        [0.5030242080, 0.2929180833, 0.2040577087],
        [0.4714225613, 0.0605791429, 0.4679982959],
    ],
    "scale-free": [
        [0.2424165190, 0.7575834810],
        [0.9982106429, 0.0017893571],
        [0.5193705952, 0.4806294048],
        [0.4584911505, 0.5415088495],
    ],
    "newton-share": [
        [0.3588929921, 0.0253942133, 0.6157127947],
        [0.0033117648, 0.9964007936, 0.0002874416],
        [0.4822574329, 0.3204829846, 0.1972595825],
        [0.4528234785, 0.0684277449, 0.4787487766],
    ],
    "scale-free-share": [
        [0.2393373959, 0.7606626041],
        [0.9983745739, 0.0016254261],
        [0.5202788247, 0.4797211753],
        [0.4580246021, 0.5419753979],
    ],
}
UPDATED = {
    "newton": [
        [0.4845760597, 0.0176098253, 0.4978141150],
        [0.0007188679, 0.9992419961, 0.0000391360],
        [0.5681174658, 0.2552451214, 0.1766374128],
        [0.6057897439, 0.0589205569, 0.3352896992],
    ],
    "scale-free": [
        [0.2210960307, 0.7789039693],
        [0.9981832583, 0.0018167417],
        [0.4908883032, 0.5091116968],
        [0.4316069430, 0.5683930570],
    ],
    "newton-share": [
        [0.4926035058, 0.0249057492, 0.4824907451],
        [0.0025827576, 0.9970695677, 0.0003476748],
        [0.5504316043, 0.2714724292, 0.1780959665],
        [0.5874256583, 0.0642861891, 0.3482881526],
    ],
    "scale-free-share": [
        [0.2189508609, 0.7810491391],
        [0.9983531680, 0.0016468320],
        [0.4926006773, 0.5073993227],
        [0.4321693080, 0.5678306920],
    ],
}
TARGETS = {"newton": "pet", "scale-free": "small", "newton-share": "pet", "scale-free-share": "small"}
IN_BOTH = {"coef", "intercept"} | {f"state.{name}" for name in (
    "belief", "trust", "recent", "class_counts", "coef", "precision", "weight",
    "progressive_batches", "progressive_histogram", "progressive_totals", "progressive_waiting")}  # fmt: skip
SHARE = {f"state.share_{name}" for name in ("batches", "belief", "counts", "seen", "totals", "waiting")}
OF_NEWTON = IN_BOTH | {f"state.{name}" for name in (
    "A", "X", "b", "center", "effective", "intercept", "mean", "mean_weight", "moment", "offset", "seen", "target",
    "theta", "trace", "typical")}  # fmt: skip
WIDE = IN_BOTH | {f"state.{name}" for name in ("drawn", "lost", "said", "scale", "squares", "totals", "wanted")}
NAMES = {
    "newton": OF_NEWTON,
    "scale-free": WIDE,
    "newton-share": OF_NEWTON | SHARE | {"state.moment_weight"},
    "scale-free-share": WIDE | SHARE | {"state.lost_by_share"},
}

pytestmark = [
    pytest.mark.parametrize("name", TARGETS),
    pytest.mark.filterwarnings("ignore:column 'indoors'. missing in 1 row:torchlogit.TorchlogitWarning"),
]


def golden(name: str) -> Path:
    return GOLDEN / f"stream-{name}.safetensors"


def tensors(path: Path) -> dict[str, NDArray[np.generic]]:
    with safe_open(path, "np") as file:
        return {tensor: file.get_tensor(tensor) for tensor in file.keys()}  # noqa: SIM118


def test_it_loads_and_predicts_the_same(name: str) -> None:
    model = load(golden(name))
    assert model.facts.target == TARGETS[name]
    assert model.facts.training_data["rows"] == 300
    np.testing.assert_allclose(model.predict_proba(NEW), PREDICTED[name], rtol=0, atol=5e-9)


def test_saved_again_it_holds_the_same_tensors(name: str, tmp_path: Path) -> None:
    load(golden(name)).save(tmp_path / "again")
    before, after = tensors(golden(name)), tensors(tmp_path / "again")
    assert set(before) == set(after) == NAMES[name]
    assert all(before[tensor].tobytes() == after[tensor].tobytes() for tensor in before)


def test_it_goes_on_learning(name: str, tmp_path: Path) -> None:
    table = MORE.format(*ROWS[TARGETS[name]], target=TARGETS[name])
    (tmp_path / "more.csv").write_text(table, encoding="utf-8")
    done = torchlogit(tmp_path, "train", "more.csv", "--update", str(golden(name)), "-o", "new.safetensors", "--quiet")
    assert done.code == 0, done.stderr
    new = load(tmp_path / "new.safetensors")
    assert new.facts.training_data["rows"] == 305
    np.testing.assert_allclose(new.predict_proba(NEW), UPDATED[name], rtol=0, atol=5e-9)
    arrays = tensors(tmp_path / "new.safetensors")
    assert set(arrays) == NAMES[f"{name.removesuffix('-share')}-share"]
    old_rows_not_counted = {"newton": 256, "scale-free": 256}.get(name, 0)  # but those that waited for a whole block
    assert arrays["state.share_counts"].sum() == arrays["state.share_seen"][2] + {"scale-free": 44}.get(name, 0)
    assert arrays["state.share_counts"].sum() <= 305 - old_rows_not_counted


def test_the_table_is_the_one_that_it_was_trained_on(name: str) -> None:
    labels = first_rows(TARGETS[name])[TARGETS[name]]
    counts = tensors(golden(name))["state.class_counts"].tolist()
    assert counts == [labels.count(label) for label in load(golden(name)).classes]
