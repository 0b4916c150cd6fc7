"""train --solver streaming and --update: one reading, from standard input too, and models that go on."""

from __future__ import annotations

import io
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from commands import Ended, torchlogit
from torchlogit.model import LogisticModel

N = 6000
STREAM = "--target y --solver streaming --quiet -o model.safetensors"


def table() -> pa.Table:
    random = np.random.default_rng(1)
    x, job = random.normal(size=N), random.integers(0, 4, N)
    y = random.logistic(size=N) < x + job - 1.5
    return pa.table({"x": x, "job": [f"job {code}" for code in job], "y": np.where(y, "yes", "no")})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streams")
    for name, part in {"all": slice(0, N), "first": slice(0, 4000), "second": slice(4000, N)}.items():
        pacsv.write_csv(table().slice(part.start, part.stop - part.start), folder / f"{name}.csv")
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Iterator[Path]:
    for path in made.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


def run(folder: Path, command: str) -> Ended:
    done = torchlogit(folder, *shlex.split(command))
    assert done.code == 0, done.stderr
    return done


def test_updated_with_more_rows_is_what_all_of_them_give(here: Path) -> None:
    run(here, f"train all.csv {STREAM} --sample-rows 4000")
    whole = (here / "model.safetensors").read_bytes()
    run(here, f"train first.csv {STREAM}")
    assert (here / "model.safetensors").read_bytes() != whole
    run(here, "train second.csv --update model.safetensors --quiet")
    assert (here / "model.safetensors").read_bytes() == whole


def test_standard_input_is_read_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(here, f"train all.csv {STREAM}")
    expected = LogisticModel.load(here / "model.safetensors")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((here / "all.csv").read_bytes())))
    run(here, f"train - {STREAM}")
    found = LogisticModel.load(here / "model.safetensors")
    assert np.array_equal(found.coef, expected.coef)
    assert np.array_equal(found.intercept, expected.intercept)


def test_what_a_stream_says(here: Path) -> None:
    shown = run(here, "train all.csv --target y --solver streaming -o model.safetensors").stdout
    assert "in one pass  6,000 rows, each predicted before it was learned from (StreamingNewton)" in shown
    assert "statistical, not proven" in shown
    assert "better than always predicting the class share of the rows so far (0.6" in shown
    told = json.loads(run(here, "train all.csv --target y --solver streaming -o model.safetensors --json").stdout)
    assert (told["status"], told["bound"], told["metrics"]) == ("uncertifiable", None, {})
    certified = json.loads(run(here, "train all.csv --target y -o exact.safetensors --json").stdout)
    stream, exact = (
        json.loads(run(here, f"evaluate {name}.safetensors all.csv --json").stdout)["log_loss"]
        for name in ("model", "exact")
    )
    assert stream - exact < 6 / (2 * N), "less above the optimum than statistics would have it"
    assert certified["status"] == "certified"


def test_a_stream_that_is_no_better_than_the_class_share_says_so(here: Path) -> None:
    random = np.random.default_rng(0)
    columns = {f"x{j}": random.normal(size=N) for j in range(9)}
    pacsv.write_csv(pa.table(columns | {"y": np.where(random.random(N) < 0.03, "yes", "no")}), here / "noise.csv")
    shown = run(here, "train noise.csv --target y --solver streaming -o model.safetensors").stdout
    assert "worse than always predicting the class share of the rows so far" in shown
    said = "predictions by the columns were no better than always predicting the class share of the rows so far, so"
    assert f"note         {said} all coefficients are 0; see whether" in shown
    assert "above the best" not in shown
    told = json.loads(run(here, "train noise.csv --target y --solver streaming -o model.safetensors --json").stdout)
    assert said in told["warnings"][-1]
    assert not LogisticModel.load(here / "model.safetensors").coef.any()


def test_a_certified_model_goes_on(here: Path) -> None:
    run(here, "train first.csv --target y --quiet -o model.safetensors")
    old = LogisticModel.load(here / "model.safetensors")
    run(here, "train second.csv --update model.safetensors --quiet -o new.safetensors")
    assert LogisticModel.load(here / "model.safetensors").coef.tolist() == old.coef.tolist(), "-o says where"
    new = LogisticModel.load(here / "new.safetensors")
    assert new.coef.tolist() != old.coef.tolist()
    all_rows = json.loads(run(here, "train all.csv --target y -o all.safetensors --json").stdout)
    found = json.loads(run(here, "evaluate new.safetensors all.csv --json").stdout)["log_loss"]
    assert found < all_rows["objective"] / all_rows["rows"] + 1e-3


def test_levels_that_were_never_seen_are_counted(here: Path) -> None:
    run(here, f"train first.csv {STREAM}")
    text = (here / "second.csv").read_text().replace("job 3", "job 9")
    (here / "other.csv").write_text(text)
    shown = run(here, "train other.csv --update model.safetensors").stdout
    count = text.count("job 9")
    assert f"column 'job': {count} rows hold levels not seen in training ('job 9'), encoded as no level" in shown


@pytest.mark.parametrize(("command", "said"), [
    ("train second.csv --update model.safetensors --l2 3",
     "--update keeps the settings that the model was trained with; leave --l2 out."),
    ("train second.csv --update model.safetensors --drop x",
     "--update keeps the settings that the model was trained with; leave --drop out."),
    ("train first.csv --target y --solver streaming --holdout 0.2",
     "--holdout: --solver streaming predicts every row before it learns from it; leave it out"),
    ("train first.csv --target y --solver streaming --cache rows",
     "--cache: --solver streaming reads every row once and stores none; leave it out"),
])  # fmt: skip
def test_options_that_make_no_sense(command: str, said: str, here: Path) -> None:
    run(here, f"train first.csv {STREAM}")
    done = torchlogit(here, *shlex.split(command))
    assert done.code == 2
    assert said in done.stderr


def test_a_class_that_a_model_does_not_know_is_refused(here: Path) -> None:
    run(here, f"train first.csv {STREAM}")
    before = (here / "model.safetensors").read_bytes()
    (here / "other.csv").write_text("x,job,y\n1,job 1,maybe\n")
    done = torchlogit(here, *shlex.split("train other.csv --update model.safetensors"))
    assert (done.code, done.stderr) == (
        1,
        "torchlogit: other.csv row 1: target 'y' holds 'maybe' in 1 of 1 rows; "
        "the model's classes are 'no', 'yes': correct the labels\n",
    )
    assert (here / "model.safetensors").read_bytes() == before
