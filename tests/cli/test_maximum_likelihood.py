"""Without a penalty: numbers are encoded as they are, so that combinations of columns stay combinations."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline

import torchlogit as package
from commands import torchlogit
from places import DATA
from torchlogit import LogisticRegression, TableEncoder

STATS = DATA / "stats_small"
COMMAND = "train people.csv --target bought --l2 0 -o model.safetensors"


def people(n: int = 600, n_levels: int = 3) -> pd.DataFrame:
    """Prices of which one is the difference of two, times in two units, levels, and labels that overlap."""
    rng = np.random.default_rng(5)
    price, rebate = (rng.uniform(low, high, n).round(2) for low, high in ((1, 3), (0, 0.5)))
    seconds = 1.7e9 + rng.uniform(0, 3e4, n).round(3)
    bought = price + rebate + (seconds - 1.7e9) / 1e4 + rng.logistic(size=n) > 4
    columns: dict[str, Any] = {"price": price, "rebate": rebate, "paid": price - rebate, "seconds": seconds}
    columns |= {"cents": np.where(rng.random(n) < 0.1, np.nan, (100 * price).round()), "member": price > 2}
    return pd.DataFrame({**columns, "job": rng.integers(0, n_levels, n), "bought": np.where(bought, "yes", "no")})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    people().to_csv(tmp_path / "people.csv", index=False)
    return tmp_path


def run(folder: Path, command: str) -> str:
    done = torchlogit(folder, *shlex.split(command))
    assert done.code == 0, done.stderr
    return done.stdout


def test_combinations_of_columns_are_named_and_the_fit_is_certified(folder: Path) -> None:
    text = run(folder, f"{COMMAND} --categorical job --require-certificate")
    assert "collinear    paid = price - rebate (to rounding); job=2 = 1 - job=0 - job=1\n" in text
    text = run(folder, "inspect model.safetensors")
    assert "collinear    paid = price - rebate (to rounding); job=2 = 1 - job=0 - job=1\n" in text
    assert "job=1 - job=0" in text


def test_the_pipeline_is_the_same_model(folder: Path) -> None:
    run(folder, f"{COMMAND} --categorical job")
    table = pd.read_csv(folder / "people.csv")
    rows, y = table.drop(columns="bought"), table["bought"]
    encoder = TableEncoder(categorical=["job"], standardize=False)
    pipeline = make_pipeline(encoder, LogisticRegression(l2=0)).fit(rows, y)
    assert encoder.transform(rows).dtype == np.float64
    np.testing.assert_array_equal(encoder.transform(rows)[:, 2], rows["paid"])
    model = package.load(folder / "model.safetensors")
    np.testing.assert_allclose(model.predict_proba(rows), pipeline.predict_proba(rows), rtol=0, atol=1e-12)
    package.save(pipeline, folder / "saved.safetensors")
    again = package.load(folder / "saved.safetensors")
    np.testing.assert_array_equal(again.predict_proba(rows), pipeline.predict_proba(rows))


def test_columns_rounded_to_float32_are_given_as_the_reason() -> None:
    table = people()
    pipeline = make_pipeline(TableEncoder(drop=["seconds"]), LogisticRegression(l2=0))
    with pytest.warns(ConvergenceWarning, match=r"X is float32, .* TableEncoder\(standardize=False\)"):
        pipeline.fit(table.drop(columns="bought"), table["bought"])


def test_predict_and_evaluate_encode_as_training_did(folder: Path) -> None:
    trained = json.loads(run(folder, f"{COMMAND} --json"))
    measured = json.loads(run(folder, "evaluate model.safetensors people.csv --json"))
    assert measured["log_loss"] == trained["metrics"]["train"]["log_loss"]
    run(folder, "predict model.safetensors people.csv -o predicted.parquet")
    expected = package.load(folder / "model.safetensors").predict_proba(pd.read_csv(folder / "people.csv"))
    found = pd.read_parquet(folder / "predicted.parquet")["probability_yes"]
    np.testing.assert_allclose(found, expected[:, 1], rtol=1e-6)


@pytest.mark.parametrize("n_levels", [3, 140], ids=["dense", "sparse"])
def test_rows_that_are_read_again_give_the_same_bits(tmp_path: Path, n_levels: int) -> None:
    people(40 * n_levels + 600, n_levels).to_csv(tmp_path / "people.csv", index=False)
    penalty = "" if n_levels < 50 else "--drop rebate "
    models = []
    for way in ("", "--no-cache", "--cache rows", "--cache rows"):
        run(tmp_path, f"{COMMAND} --categorical job {penalty}{way}")
        models.append((tmp_path / "model.safetensors").read_bytes())
    assert models[1:] == models[:1] * 3


def test_with_a_penalty_numbers_are_standardized(folder: Path) -> None:
    for options in ("--l2 1", "--l1 1", "--solver sgd --max-iter 2", "--l2 auto"):
        run(folder, f"train people.csv --target bought --drop seconds,paid --l2 0 {options} -o model.safetensors")
        model = package.load(folder / "model.safetensors")
        assert model.encoder is not None
        assert model.encoder.schema.standardized, options
        assert model.features(people()).dtype == np.float32


def test_a_model_without_a_penalty_can_be_updated(folder: Path) -> None:
    run(folder, f"{COMMAND} --drop seconds,paid")
    run(folder, "train people.csv --target bought --update model.safetensors")
    model = package.load(folder / "model.safetensors")
    assert model.encoder is not None
    assert not model.encoder.schema.standardized
    accuracy = np.mean(model.predict(people()) == people()["bought"])
    assert accuracy > 0.55


def test_with_class_weights_there_are_no_errors(folder: Path) -> None:
    text = run(folder, f"{COMMAND} --drop seconds,paid --class-weight balanced")
    assert "certified" in text
    assert "standard error" not in text
    text = run(folder, "inspect model.safetensors")
    assert "errors       not computed: class weights are not counts of rows" in text
    assert "std. error" not in text


@pytest.mark.data
@pytest.mark.skipif(not STATS.is_dir(), reason="the shared data folder beside the project is not there")
@pytest.mark.parametrize(
    ("name", "target", "relations"),
    [
        ("islr_oj", "Purchase", "SalePriceMM = PriceMM - DiscMM (to rounding); SalePriceCH = PriceCH - DiscCH"),
        ("hl_myopia", "myopic", "diopterhr = 3 readhr + 2 comphr + 3 studyhr + tvhr; "),
        ("cells", "class", "perim_ch_1 = 2 fiber_length_ch_1 + 2 fiber_width_ch_1 (to rounding)"),
    ],
)
def test_columns_that_r_leaves_out_are_named(name: str, target: str, relations: str, tmp_path: Path) -> None:
    command = f"train {STATS / name}.csv --target {target} --l2 0 --require-certificate -o m.safetensors"
    assert relations in run(tmp_path, command)
