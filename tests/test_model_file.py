"""The model file: what is saved comes back to the bit, damage is refused, and files of every version still load.

tests/golden/model-format-1.safetensors was written once, by

    torchlogit train pets.csv --target pet --l2 0.5 --categorical colour -o model-format-1.safetensors

on the table PETS below, model-format-2.safetensors by the same command of a later version. Neither must ever be written
again: a later format gets a file of its own beside them.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.pipeline import make_pipeline

from places import GOLDEN
from profiles import examples
from torchlogit import (
    InputError,
    LogisticModel,
    LogisticRegression,
    ModelFileError,
    TableEncoder,
    TorchlogitWarning,
    load,
    save,
)
from torchlogit import model as model_file
from torchlogit.data.encoding.encoder import Encoder
from torchlogit.model import Facts, Label, write_atomically

NOT_A_MODEL = "not a torchlogit model, or a damaged one; expected a file written by `torchlogit train`"

PETS = """\
weight,colour,indoors,pet
4.1,1,true,cat
3.6,2,true,cat
5.2,2,false,cat
9.5,?,true,cat
21.0,3,false,dog
8.3,3,,dog
30.5,1,false,dog
4.4,3,true,dog
1.2,2,true,rabbit
,1,false,rabbit
4.8,2,true,rabbit
1.9,2,true,rabbit
"""


@dataclass(frozen=True)
class Fitted:
    """What was fitted, and rows to predict, some of them unlike any that it was fitted to."""

    model: object
    X: object
    n_classes: int

    def predict_proba(self) -> NDArray[np.float64]:
        result: NDArray[np.float64] = self.model.predict_proba(self.X)  # type: ignore[attr-defined]
        return result


def numbers(n_classes: int, kind: type[np.floating], l2: float) -> Fitted:
    rng = np.random.default_rng(n_classes)
    X = rng.standard_normal((60, 3)).astype(kind)
    y = (X @ rng.standard_normal((3, n_classes)) + rng.gumbel(size=(60, n_classes))).argmax(axis=1)
    return Fitted(LogisticRegression(l2=l2).fit(X, y), 3 * X, n_classes)


def table(n_classes: int, l2: float, **wide: Any) -> Fitted:
    rng = np.random.default_rng(n_classes)
    X = {
        "age": [None if row % 9 == 0 else float(row * row % 50) for row in range(60)],
        "job": [["clerk", "cook", "smith", None][row % 4] for row in range(60)],
        "member": rng.random(60) < 0.5,
        "said": [f"word {row % 7} and {'more ' * (row % 3)}" if row % 5 else None for row in range(60)],
    }
    X = X if wide else {name: values for name, values in X.items() if name != "said"}
    y = np.array(["a", "b", "c", "d"])[rng.permutation(np.arange(60) % n_classes)]
    new = {"age": [1e6, -3.0, None], "job": ["pilot", "cook", None], "member": [True, False, None]}
    new["said"] = ["more or less", None, "word and word"]
    return Fitted(make_pipeline(TableEncoder(**wide), LogisticRegression(l2=l2)).fit(X, y), new, n_classes)


FITTED: dict[str, Callable[[], Fitted]] = {
    "two classes": lambda: numbers(2, np.float64, 1.0),
    "two classes, float32": lambda: numbers(2, np.float32, 1.0),
    "two classes, no penalty": lambda: numbers(2, np.float64, 0.0),
    "three classes": lambda: numbers(3, np.float64, 1.0),
    "four classes, no penalty": lambda: numbers(4, np.float64, 0.0),
    "table, two classes": lambda: table(2, 1.0),
    "table, two classes, no penalty": lambda: table(2, 0.0),
    "table, four classes": lambda: table(4, 1.0),
    "table, words and crosses": lambda: table(3, 1.0, text="said", crosses=["job:member"]),
    "table, hashed": lambda: table(2, 1.0, text="said", crosses=["job:member"], hash_bits=4),
}


@pytest.mark.filterwarnings("ignore::torchlogit.TorchlogitWarning")
@pytest.mark.parametrize("name", FITTED)
def test_what_is_saved_comes_back_to_the_bit(name: str, tmp_path: Path) -> None:
    fitted = FITTED[name]()
    path = tmp_path / "model.safetensors"
    save(fitted.model, path, target="y")
    model = load(path)
    np.testing.assert_array_equal(model.predict_proba(fitted.X), fitted.predict_proba(), strict=True)
    assert model.predict(fitted.X).tolist() == fitted.model.predict(fitted.X).tolist()
    assert len(model.classes) == fitted.n_classes
    assert model.facts.target == "y"
    model.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.filterwarnings("ignore::torchlogit.TorchlogitWarning")
@pytest.mark.parametrize("name", ["table, words and crosses", "table, hashed"])
def test_a_loaded_model_predicts_alike_from_sparse_features(name: str, tmp_path: Path) -> None:
    fitted = FITTED[name]()
    save(fitted.model, tmp_path / "m")
    model, expected = load(tmp_path / "m"), fitted.predict_proba()
    assert model.encoder is not None
    model = replace(model, encoder=Encoder(model.encoder.schema, max_dense_features=0))
    assert issparse(model.features(fitted.X))
    np.testing.assert_allclose(model.predict_proba(fitted.X), expected, rtol=1e-12)


def test_names_too_long_for_the_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_file, "MAX_HEADER", 1000)
    with pytest.raises(InputError, match=r"and a model file holds 0; hash them \(hash_bits or --hash-bits\), or leave"):
        save(FITTED["table, two classes"]().model, tmp_path / "m")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["three classes", "table, two classes"])
def test_the_same_fit_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    for copy in ("one", "two"):
        save(FITTED[name]().model, tmp_path / copy)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_model_of_a_column_far_from_zero_predicts_as_the_estimator(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([1.7e9 + 1e-3 * rng.standard_normal(60), rng.standard_normal(60)])
    fitted = LogisticRegression(l2=0).fit(X, rng.random(60) < 0.5)
    save(fitted, tmp_path / "m")
    model = load(tmp_path / "m")
    assert model.center is not None
    assert model.center[1] == 0.0
    assert np.array_equal(model.predict_proba(X), fitted.predict_proba(X))
    model.save(tmp_path / "again")
    assert (tmp_path / "m").read_bytes() == (tmp_path / "again").read_bytes()


LABELS = [(0, 1), (-1, 1), (False, True), ("no", "yes"), (0.5, 1.5), (1, 2, 3), ("a", "ä", "猫"), (2**60, 2**60 + 1)]


@pytest.mark.parametrize("labels", LABELS)
def test_labels_keep_their_kind(labels: tuple[Label, ...], tmp_path: Path) -> None:
    outputs = 1 if len(labels) == 2 else len(labels)
    facts = Facts(None, {"l1": 0.0, "l2": 1.0}, {}, {}, {}, {"reason": "not computed"}, {})
    LogisticModel(np.ones((1, outputs)), np.zeros(outputs), labels, ("x",), None, facts).save(tmp_path / "m")
    model = load(tmp_path / "m")
    assert model.classes == labels
    assert [type(label) for label in model.classes] == [type(label) for label in labels]
    assert model.facts == facts


# Read by others


@dataclass(frozen=True)
class Parsed:
    """A model file, read by the description of the safetensors format alone."""

    metadata: dict[str, object]
    tensors: dict[str, NDArray[np.float64]]


def parsed(path: Path) -> Parsed:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    metadata = json.loads(header.pop("__metadata__")["torchlogit"])
    tensors = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F64"
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = np.frombuffer(content[start:end], "<f8").reshape(entry["shape"])
    return Parsed(metadata, tensors)


@pytest.mark.parametrize("name", ["two classes", "four classes, no penalty"])
def test_numpy_and_json_are_enough_to_predict(name: str, tmp_path: Path) -> None:
    fitted = FITTED[name]()
    save(fitted.model, tmp_path / "m.safetensors", target="y")
    found = parsed(tmp_path / "m.safetensors")
    assert set(found.tensors) == {"coef", "intercept"}
    np.testing.assert_array_equal(found.tensors["coef"], fitted.model.coef_.T)
    np.testing.assert_array_equal(found.tensors["intercept"], fitted.model.intercept_)
    raw = fitted.X @ found.tensors["coef"] + found.tensors["intercept"]
    raw = np.hstack([np.zeros_like(raw), raw]) if raw.shape[1] == 1 else raw
    by_hand = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(by_hand, fitted.predict_proba(), rtol=1e-12)
    certificate = fitted.model.certificate_
    assert found.metadata["format_version"] == 4
    assert found.metadata["classes"] == list(range(fitted.n_classes))
    assert found.metadata["feature_names"] == ["x0", "x1", "x2"]
    assert found.metadata["certificate"]["status"] == "certified"
    assert found.metadata["certificate"]["bound"] == certificate.bound
    assert found.metadata["training_data"]["rows"] == 60


def test_the_file_tells_how_each_column_was_understood(tmp_path: Path) -> None:
    save(FITTED["table, two classes"]().model, tmp_path / "m.safetensors")
    schema = parsed(tmp_path / "m.safetensors").metadata["schema"]
    assert [(column["name"], column["kind"], column["has_missing"]) for column in schema["columns"]] == [
        ("age", "numeric", True), ("job", "categorical", True), ("member", "boolean", False)
    ]  # fmt: skip


def test_to_load_and_to_predict_needs_no_torch(tmp_path: Path) -> None:
    save(FITTED["table, four classes"]().model, tmp_path / "m.safetensors")
    code = """
import sys
import torchlogit
model = torchlogit.load("m.safetensors")
print(model.predict({"age": [3.0], "job": ["cook"], "member": [True]})[0])
assert model.predict_proba({"age": [3.0], "job": ["cook"], "member": [True]}).shape == (1, 4)
assert model.in_original_units()
model.save("again.safetensors")
assert "torch" not in sys.modules"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() in "abcd"
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "m.safetensors").read_bytes()


# Damage


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "m.safetensors"
    save(FITTED["table, four classes"]().model, path)
    return path.read_bytes()


def refused_or_the_same(content: bytes, whole: bytes, path: Path) -> bool:
    """Whether a damaged file is refused; if not (1e-09 became 1E-09, or a blank a tab), the model is the same."""
    path.write_bytes(content)
    try:
        model = load(path)
    except ModelFileError as error:
        message = str(error)
    else:
        model.save(path)
        assert path.read_bytes() == whole
        return False
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return True


damage = examples(300, suppress_health_check=[HealthCheck.function_scoped_fixture])


@damage
@given(st.data())
def test_a_flipped_bit_is_found_or_changes_nothing(whole: bytes, tmp_path: Path, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(whole) - 1))
    bit = data.draw(st.integers(0, 7))
    damaged = bytearray(whole)
    damaged[place] ^= 1 << bit
    refused_or_the_same(bytes(damaged), whole, tmp_path / "m.safetensors")


@damage
@given(st.data())
def test_a_truncated_file_is_refused(whole: bytes, tmp_path: Path, data: st.DataObject) -> None:
    kept = data.draw(st.integers(0, len(whole) - 1))
    assert refused_or_the_same(whole[:kept], whole, tmp_path / "m.safetensors")


@damage
@given(st.data(), st.binary(min_size=1, max_size=40))
def test_foreign_bytes_are_found_or_change_nothing(
    whole: bytes, tmp_path: Path, data: st.DataObject, junk: bytes
) -> None:
    place = data.draw(st.integers(0, len(whole)))
    replaced = whole[:place] + junk + whole[place + len(junk) :]
    inserted = whole[:place] + junk + whole[place:]
    for damaged in (replaced, inserted):
        if damaged != whole:
            refused_or_the_same(damaged, whole, tmp_path / "m.safetensors")


def test_every_bit_of_the_coefficients_counts(whole: bytes, tmp_path: Path) -> None:
    (length,) = struct.unpack("<Q", whole[:8])
    for place in range(8 + length, len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        (tmp_path / "m").write_bytes(damaged)
        with pytest.raises(ModelFileError, match=r": the checksum does not fit the contents; the file is damaged$"):
            load(tmp_path / "m")


def test_one_byte_too_many_is_found(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(whole + b"\0")
    with pytest.raises(ModelFileError, match=NOT_A_MODEL):
        load(tmp_path / "m")


def test_a_path_is_as_good_as_a_text(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(whole)
    assert load(tmp_path / "m").classes == load(str(tmp_path / "m")).classes == ("a", "b", "c", "d")


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError) as caught:
        load(tmp_path / "m")
    assert str(caught.value) == f"{tmp_path / 'm'}: no such file; expected a model written by `torchlogit train`"
    with pytest.raises(ModelFileError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"{tmp_path}: a folder; expected a model file written by `torchlogit train`"


# Writing


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"old")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, function, full)
    with pytest.raises(InputError) as caught:
        write_atomically(path, b"new")
    assert str(caught.value) == f"{path}: cannot write the file (No space left on device); nothing was changed"
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"m": b"old"}


def test_the_new_file_is_whole_before_it_takes_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"old")
    seen = []
    rename = os.replace

    def watched(source: Path, to: Path) -> None:
        seen.append((Path(source).read_bytes(), Path(source).parent, path.read_bytes()))
        rename(source, to)

    monkeypatch.setattr(os, "replace", watched)
    write_atomically(path, b"new")
    assert seen == [(b"new", tmp_path, b"old")]
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"m": b"new"}


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX's")
def test_the_file_gets_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "m", b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "m").stat().st_mode & 0o777 == 0o640


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        write_atomically(tmp_path / "no" / "m", b"new")
    message = f"{tmp_path / 'no' / 'm'}: cannot write there (No such file or directory); choose another folder"
    assert str(caught.value) == message


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


# Every version that was ever released


PREDICTED = [
    [0.3915527222, 0.0603310173, 0.5481162605],
    [0.0224004034, 0.9692892389, 0.0083103577],
    [0.2271680441, 0.2166833607, 0.5561485952],
    [0.4863666299, 0.2113950700, 0.3022383002],
]
INTERCEPTS = [0.80630874, -0.97373283, 0.16742409]
PER_KILOGRAM = -0.03957202


@pytest.mark.parametrize("version", [1, 2])
def test_a_file_of_an_earlier_format_still_loads_and_predicts(version: int) -> None:
    model = load(GOLDEN / f"model-format-{version}.safetensors")
    assert model.state is None
    assert model.classes == ("cat", "dog", "rabbit")
    assert model.feature_names == (
        "weight", "weight=NA", "colour=1", "colour=2", "colour=3", "colour=NA", "indoors", "indoors=NA"
    )  # fmt: skip
    assert model.facts.target == "pet"
    assert model.facts.penalty == {"l1": 0.0, "l2": 0.5}
    assert model.facts.certificate["status"] == "certified"
    assert model.facts.training_data["rows"] == 12
    new = {"weight": [3.0, 25.0, None, 6.0], "colour": [2, 3, 1, 7], "indoors": [True, False, None, True]}
    unseen = r"^column 'colour': 1 row holds a level not seen in training \('7'\), encoded as no level"
    with pytest.warns(TorchlogitWarning, match=unseen):
        predicted = model.predict_proba(new)
    np.testing.assert_allclose(predicted, PREDICTED, rtol=0, atol=5e-9)
    intercepts, coefficients = model.in_original_units()
    assert [round(line.value, 8) for line in intercepts] == INTERCEPTS
    assert (coefficients[0].feature, coefficients[0].output) == ("weight", "cat")
    assert round(coefficients[0].value, 8) == PER_KILOGRAM
