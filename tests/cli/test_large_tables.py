"""Tables larger than memory, from the command line: the same model however rows were kept, read, cut or interrupted."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from commands import torchlogit
from torchlogit.data.reading import csv_reader

ROWS, PARTS = 12_000, 3
TORCHLOGIT = Path(sys.executable).parent / "torchlogit"
TRAIN = "train data --target y -o model.safetensors"


def table(rows: int = ROWS) -> pa.Table:
    random = np.random.default_rng(0)
    job = random.integers(0, 150, rows)
    x = random.normal(size=(rows, 3)) * [1, 1000, 1e-3]
    odds = x @ [1, 1e-3, 300] + np.sin(job)
    columns: dict[str, object] = {f"x{j}": x[:, j] for j in range(3)}
    columns["gaps"] = pa.array(np.round(x[:, 0], 2), mask=random.random(rows) < 0.1)
    columns["job"] = [f"job {code}" for code in job]
    columns["weight"] = random.integers(0, 3, rows)
    columns["y"] = np.where(random.logistic(size=rows) < odds, "yes", "no")
    return pa.table(columns)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `data` of three CSV files, the same rows as one Parquet file, and sorted by target."""
    folder, whole = tmp_path_factory.mktemp("tables"), table()
    (folder / "data").mkdir()
    for part in range(PARTS):
        size = ROWS // PARTS
        pacsv.write_csv(whole.slice(part * size, size), folder / "data" / f"part-{part}.csv")
    pq.write_table(whole, folder / "whole.parquet", row_group_size=7_000)
    pacsv.write_csv(whole.sort_by("y"), folder / "sorted.csv")
    return folder


@pytest.fixture
def here(tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of its own, with links to the tables."""
    for name in ("data", "whole.parquet", "sorted.csv"):
        (tmp_path / name).symlink_to(tables / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(folder: Path, command: str = TRAIN) -> bytes:
    """The bytes of the model file."""
    done = torchlogit(folder, *shlex.split(command), "--quiet")
    assert done.code == 0, done.stderr
    return (folder / "model.safetensors").read_bytes()


WAYS = {
    "read anew": "--no-cache",
    "kept by name": "--cache rows",
    "with checkpoints": "--checkpoint run",
    "with both": "--checkpoint other --cache rows",
}


@pytest.mark.parametrize("options", ["", "--holdout 0.2 --seed 3", "--weight weight", "--l1 5 --cross job:gaps"])
def test_the_same_model_however_rows_are_kept(options: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = trained(here, f"{TRAIN} {options}")
    for way in WAYS.values():
        assert trained(here, f"{TRAIN} {options} {way}") == expected, way
    monkeypatch.setattr("torchlogit.cli.workspace.MAX_BYTES_IN_MEMORY", 0)
    assert trained(here, f"{TRAIN} {options}") == expected, "on disk"
    assert {path.name for path in here.iterdir()} == {*LEFT}


def test_rows_to_measure_on_are_spilled_as_those_to_train_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchlogit.storage import TemporaryArrays

    made, command = list[TemporaryArrays](), f"{TRAIN} --valid whole.parquet --json"
    expected = torchlogit(here, *shlex.split(command)).stdout
    monkeypatch.setattr("torchlogit.cli.workspace.MAX_BYTES_IN_MEMORY", 1000)
    monkeypatch.setattr(
        "torchlogit.cli.workspace.TemporaryArrays", lambda *given: made.append(TemporaryArrays(*given)) or made[-1]
    )
    found = torchlogit(here, *shlex.split(command))
    assert [arrays.spilled for arrays in made] == [True, True]
    assert json.loads(found.stdout)["metrics"] == json.loads(expected)["metrics"]
    assert "torchlogit: the encoded rows take 0.0 GB, in temporary files in" in found.stderr


LEFT = ("data", "whole.parquet", "sorted.csv", "model.safetensors", "rows", "run", "other")


@pytest.mark.parametrize("rows", [7, 999])
def test_the_same_model_however_many_rows_are_read_at_a_time(
    rows: int, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = trained(here)
    monkeypatch.setattr(csv_reader, "READ_BYTES", 90 * rows)
    assert trained(here) == expected


def test_a_file_sorted_by_target_trains_to_the_certificate(here: Path) -> None:
    for solver in ("newton", "dual"):
        done = torchlogit(here, *shlex.split(f"train sorted.csv --target y --solver {solver} --require-certificate"))
        assert (done.code, "certified" in done.stdout) == (0, True)


def test_what_is_kept_is_used_and_a_changed_source_is_read_again(here: Path, tmp_path: Path) -> None:
    command = "train small.csv --target y -o model.safetensors --cache rows"
    pacsv.write_csv(table(500), here / "small.csv")
    first = trained(here, command)
    written = (here / "rows" / "rows-train-values").stat().st_mtime_ns
    assert trained(here, command) == first
    assert (here / "rows" / "rows-train-values").stat().st_mtime_ns == written, "not written again"
    pacsv.write_csv(table(501), here / "small.csv")
    second = trained(here, command)
    assert second != first
    assert second == trained(here, "train small.csv --target y -o model.safetensors")
    for damaged, content in (("rows-train-values", ""), ("rows.json", "{"), ("rows.json", "[]"), ("rows.json", "{}")):
        (here / "rows" / damaged).write_text(content)
        assert trained(here, command) == second, "made anew where it is damaged"


# -- Faults -----------------------------------------------------------------------------------------------


def test_a_bad_row_deep_in_the_third_file_of_a_glob(here: Path) -> None:
    old = trained(here)
    (here / "bad").mkdir()
    for part in range(PARTS):
        text = (here / "data" / f"part-{part}.csv").read_text().splitlines(keepends=True)
        if part == 2:
            text[3_001] = "1,2,3\n"
        (here / "bad" / f"part-{part}.csv").write_text("".join(text))
    done = torchlogit(here, *shlex.split("train bad/*.csv --target y -o model.safetensors"))
    assert done.code == 1
    assert done.stderr.startswith("torchlogit: part-2.csv row 3001: expected 7 fields and found 3 in '1,2,3'")
    assert done.stderr.count("\n") == 1
    assert (here / "model.safetensors").read_bytes() == old


@pytest.mark.parametrize(("column", "value", "said"), [
    ("x0", "1e300", "part-2.csv row 3001: column 'x0' holds '1e300'"),
    ("y", "maybe", "target 'y'"),
    ("y", "", "part-2.csv row 3001: target 'y' is missing"),
    ("weight", "-1", "part-2.csv row 3001: weight 'weight' is -1"),
])  # fmt: skip
def test_a_bad_value_deep_in_the_third_file(column: str, value: str, said: str, here: Path) -> None:
    (here / "bad").mkdir()
    for part in range(PARTS):
        text = (here / "data" / f"part-{part}.csv").read_text().splitlines()
        if part == 2:
            fields = text[3_001].split(",")
            fields[table(1).column_names.index(column)] = value
            text[3_001] = ",".join(fields)
        (here / "bad" / f"part-{part}.csv").write_text("\n".join(text) + "\n")
    done = torchlogit(here, *shlex.split("train bad/*.csv --target y --weight weight -o model.safetensors"))
    if value == "maybe":
        assert (done.code, "target       y: maybe 1" in done.stdout) == (0, True), "a class of its own"
        return
    assert (done.code, done.stderr.count("\n")) == (1, 1)
    assert said in done.stderr


def test_a_truncated_parquet(here: Path) -> None:
    content = (here / "whole.parquet").read_bytes()
    (here / "cut.parquet").write_bytes(content[: len(content) // 2])
    done = torchlogit(here, *shlex.split("train cut.parquet --target y"))
    assert (done.code, done.stderr) == (
        1,
        "torchlogit: cut.parquet is not a whole Parquet file; write it or fetch it again\n",
    )


def test_a_source_that_changes_between_readings(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchlogit.data import preparation

    pacsv.write_csv(table(500), here / "small.csv")
    learn = preparation.learn_table

    def learned(*given: object, **named: object) -> object:
        found = learn(*given, **named)
        with open(here / "small.csv", "a") as file:
            file.write("0,0,0,0,job 1,1,yes\n")
        return found

    monkeypatch.setattr(preparation, "learn_table", learned)
    done = torchlogit(here, *shlex.split("train small.csv --target y"))
    assert (done.code, done.stderr) == (
        1,
        "torchlogit: small.csv has changed since it was first read; start again with the file at rest\n",
    )


@pytest.mark.parametrize("option", ["--cache", "--checkpoint"])
def test_a_disk_that_fills_while_rows_are_kept(
    option: str, here: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    old, disk = trained(here), tmp_path_factory.mktemp("disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no small file system can be mounted here: it takes root's rights")
    try:
        done = torchlogit(here, *shlex.split(f"{TRAIN} {option} {disk}"))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    assert (done.code, done.stderr.count("\n")) == (1, 1)
    assert "the disk is full; free some space, or choose another folder" in done.stderr
    assert (here / "model.safetensors").read_bytes() == old


@pytest.mark.parametrize(("options", "said"), [
    ("--cache rows --no-cache", "--cache keeps encoded rows and --no-cache keeps none; give one of them."),
    ("--no-cache --solver dual", "--no-cache reads all rows for each step, but --solver dual uses few; leave it out."),
    ("--resume", "--resume continues from a checkpoint; name its folder with --checkpoint."),
])  # fmt: skip
def test_options_that_contradict_each_other(options: str, said: str, here: Path) -> None:
    done = torchlogit(here, *shlex.split(f"{TRAIN} {options}"))
    assert done.code == 2
    assert said in done.stderr


# -- Going on ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", ["--tol 1e-9", "--l1 5", "--solver dual --tol 1e-10"])
def test_stopped_by_its_budget_and_resumed_the_model_is_the_same(options: str, here: Path) -> None:
    expected = trained(here, f"{TRAIN} {options}")
    stopped = trained(here, f"{TRAIN} {options} --max-iter 2 --checkpoint run")
    assert stopped != expected
    assert trained(here, f"{TRAIN} {options} --checkpoint run --resume") == expected


# -- Kills ------------------------------------------------------------------------------------------------


def torchlogit_apart(folder: Path, *options: str) -> None:
    """The command as a process of its own, with threads of its own."""
    subprocess.run([TORCHLOGIT, *shlex.split(TRAIN), *options, "--quiet"], cwd=folder, check=True)


def killed_until_done(folder: Path, kills: int, seed: int, seconds: float) -> int:
    """Runs the command, kills it after a random while, resumes it, until it ends by itself; how often it was killed.

    seconds: what an undisturbed run takes. A third of it is importing.
    """
    random, command = np.random.default_rng(seed), [*shlex.split(TRAIN), "--checkpoint", "run", "--resume", "--quiet"]
    killed = 0
    while True:
        run = subprocess.Popen([TORCHLOGIT, *command], cwd=folder)
        limit = time.monotonic() + seconds * float(random.uniform(0.3, 0.95)) if killed < kills else float("inf")
        while run.poll() is None and time.monotonic() < limit:
            time.sleep(0.02)
        if run.poll() is not None:
            assert run.returncode == 0
            return killed
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        killed += 1


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 20])
def test_killed_at_random_moments_and_resumed_the_model_is_the_same(kills: int, here: Path) -> None:
    torchlogit_apart(here)  # which compiles loops, where they are not in numba's cache
    began = time.monotonic()
    torchlogit_apart(here)
    seconds = time.monotonic() - began
    expected = (here / "model.safetensors").read_bytes()
    (here / "model.safetensors").unlink()
    assert killed_until_done(here, kills, kills, seconds) >= min(kills, 10)
    assert (here / "model.safetensors").read_bytes() == expected
    torchlogit_apart(here, "--checkpoint", "run", "--resume")
    assert (here / "model.safetensors").read_bytes() == expected
    other = torchlogit(here, *shlex.split(f"{TRAIN} --checkpoint run"))
    assert (other.code, "contains a fit already; continue it (resume=True, --resume)" in other.stderr) == (1, True)
