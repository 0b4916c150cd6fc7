"""The command line on real svmlight files and real texts, from training to measuring, by their official splits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from commands import torchlogit
from places import DATA
from torchlogit import LogisticRegression, load, load_svmlight

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared data folder beside the project"),
]


def a9a(folder: Path) -> None:
    """a9a.svm and, with the same labels and one feature fewer, a9a_test.svm."""
    shutil.copy(DATA / "libsvm" / "a9a", folder / "a9a.svm")
    lines = (DATA / "libsvm" / "a9a.t").read_text().splitlines()
    (folder / "a9a_test.svm").write_text("\n".join("-1" + line[1:] if line[:2] == "0 " else line for line in lines))


def test_a9a_from_training_to_measuring(tmp_path: Path) -> None:
    a9a(tmp_path)
    trained = torchlogit(tmp_path, "train", "a9a.svm", "--json")
    assert (trained.code, trained.stderr) == (0, "")
    found = json.loads(trained.stdout)
    assert (found["status"], found["rows"], found["features"], found["classes"]) == ("certified", 32_561, 123, [-1, 1])
    assert found["objective"] == pytest.approx(0.32334918 * 32_561, rel=1e-6)
    measured = torchlogit(tmp_path, "evaluate", "a9a.safetensors", "a9a_test.svm", "--json")
    assert (measured.code, measured.stderr) == (0, "")
    assert json.loads(measured.stdout)["accuracy"] == pytest.approx(0.85, abs=0.002)
    predicted = torchlogit(tmp_path, "predict", "a9a.safetensors", "a9a_test.svm")
    assert predicted.stdout.count("\n") == 16_282


def test_the_command_line_fits_what_the_library_reads(tmp_path: Path) -> None:
    a9a(tmp_path)
    assert torchlogit(tmp_path, "train", "a9a.svm").code == 0
    X, y = load_svmlight(tmp_path / "a9a.svm")
    model = LogisticRegression(random_state=0).fit(X.toarray(), y)
    np.testing.assert_allclose(load(tmp_path / "a9a.safetensors").coef[:, 0], model.coef_[0], atol=1e-9)


@pytest.mark.slow
def test_newsgroups_by_their_words(tmp_path: Path) -> None:
    for name in ("train", "test"):
        shutil.copy(DATA / "20newsgroups" / f"20news-bydate-{name}.jsonl.gz", tmp_path / f"{name}.jsonl.gz")
    options = ("--text", "text", "--target", "group", "--drop", "id")
    trained = torchlogit(tmp_path, "train", "train.jsonl.gz", *options, "--json")
    assert trained.code == 0
    found = json.loads(trained.stdout)
    assert (found["status"], found["rows"], found["features"]) == ("certified", 11_314, 130_107)
    measured = torchlogit(tmp_path, "evaluate", "train.safetensors", "test.jsonl.gz", "--json")
    assert json.loads(measured.stdout)["accuracy"] >= 0.82
