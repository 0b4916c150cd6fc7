"""Compare the bytes of models trained by this checkout with those trained by another commit.

    python scripts/compare_models.py [COMMIT]

COMMIT is by default HEAD~, the parent. Both sides train the same models on the same small tables with the same Python,
each in its own temporary folder. One line per file says whether the bytes are the same; the exit code is 1 if any file
differs. Uncommitted changes of this checkout are included. The other commit's files stay in the system's temporary
folder, so that its loops need not be compiled again for the next comparison.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from itertools import islice
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from compiled_loops import drop_outdated

ROOT = Path(__file__).resolve().parents[1]
ADULT = ROOT / "examples" / "adult"

TRAIN = "train adult.csv --target income --threads 1"
STREAM = "train first.csv --target income --solver streaming --threads 1"
COMMANDS = {  # for each file that is compared: the commands that write it
    "adult": [TRAIN],
    "valid": [f"{TRAIN} --valid later.csv"],
    "holdout": [f"{TRAIN} --holdout 0.3 --seed 3"],
    "l1": [f"{TRAIN} --l1 2 --l2 0.5"],
    "l1-alone": [f"{TRAIN} --l1 3 --l2 0"],
    "no-penalty": ["train numbers.csv --target y --l2 0 --threads 1"],
    "separated": ["train separated.csv --target alive --l2 0"],
    "l2-auto": ["train numbers.csv --target y --l2 auto --threads 1"],
    "several-classes": [f"{TRAIN.replace('income', 'race')} --drop native_country --tol 1e-8"],
    "several-classes-l1": ["train numbers.csv --target group --l1 1 --threads 1"],
    "many-rows": ["train many.csv --target y --tol 1e-9 --threads 2"],
    "hashed": [f"{TRAIN} --hash-bits 8 --cross education:sex"],
    "crosses": [f"{TRAIN} --cross education:sex"],
    "text": ["train reviews.jsonl --text body --target label"],
    "text-hashed": ["train reviews.jsonl --text body --target label --hash-bits 6"],
    "svmlight": ["train words.svm --threads 1"],
    "dual": [f"{TRAIN} --solver dual"],
    "dual-svmlight": ["train words.svm --solver dual --l2 0.1 --threads 1"],
    "softmax-ascent": ["train numbers.csv --target group --solver dual --threads 1"],
    "sgd": [f"{TRAIN} --solver sgd --max-iter 5"],
    "weight": [f"{TRAIN} --weight hours_per_week --drop fnlwgt"],
    "positive": [f"{TRAIN} --positive <=50K"],
    "class-weight": [f"{TRAIN} --class-weight balanced"],
    "kinds": [f"{TRAIN} --categorical education_num --drop fnlwgt,race"],
    "no-cache": [f"{TRAIN} --no-cache"],
    "cache": [f"{TRAIN} --cache rows"],
    "sample-rows": [f"{TRAIN} --sample-rows 1000 --hash-bits 8"],
    "checkpoint": [f"{TRAIN} --checkpoint run"],
    "resumed": [
        f"{TRAIN} --max-iter 3 --checkpoint other --tol 1e-9",
        f"{TRAIN} --checkpoint other --resume --tol 1e-9",
    ],
    "stream": [STREAM],
    "stream-weight": [f"{STREAM} --weight hours_per_week --drop fnlwgt"],
    "stream-classes": [STREAM.replace("income", "race")],
    "stream-hashed": [f"{STREAM} --hash-bits 16"],  # so many features that the learner is ScaleFree
    "updated-stream": [STREAM, "train second.csv --update MODEL --threads 1"],
    "updated-hashed": [f"{STREAM} --hash-bits 16", "train second.csv --update MODEL --threads 1"],
    "updated-certified": [TRAIN.replace("adult", "first"), "train second.csv --update MODEL --threads 1"],
    "prediction.csv": [f"{TRAIN} -o p.safetensors", "predict p.safetensors later.csv -o prediction.csv"],
    "prediction-text.csv": [
        "train reviews.jsonl --text body --target label -o t.safetensors",
        "predict t.safetensors reviews.jsonl -o prediction-text.csv",
    ],
}  # fmt: skip


def write_tables(folder: Path) -> None:
    """Write the tables that models are trained on: rows of Adult, and random rows drawn with fixed seeds."""
    with gzip.open(ADULT / "adult-train.csv.gz", "rt", encoding="utf-8") as file:
        head, *rows = islice(file, 4_001)
    parts = {"adult": rows[:2_500], "first": rows[:1_500], "second": rows[1_500:2_500], "later": rows[3_000:]}
    for name, part in parts.items():
        (folder / f"{name}.csv").write_text("".join([head, *part]), encoding="utf-8")
    shutil.copy(ROOT / "examples" / "reviews.jsonl", folder)
    for name, n in {"numbers": 800, "many": 30_000}.items():
        _write_numbers(folder / f"{name}.csv", n)
    rng = np.random.default_rng(2)
    with (folder / "words.svm").open("w") as file:
        for _ in range(400):
            words = np.unique(rng.zipf(1.4, 12) % 900 + 1)
            label = "+1" if words.sum() % 7 < 3 else "-1"
            file.write(" ".join([label, *(f"{word}:{rng.integers(1, 9) / 4}" for word in words)]) + "\n")
    rows = [f"{dose},{'yes' if dose < 5 else 'no'}\n" for dose in range(1, 9)]
    (folder / "separated.csv").write_text("".join(["dose,alive\n", *rows]))


def _write_numbers(path: Path, n: int) -> None:
    rng = np.random.default_rng(n)
    x = np.round(rng.standard_normal((n, 6)) * [1, 10, 1e3, 1e-3, 1, 1], 6)
    z = x @ [1, -0.05, 5e-4, 300, 0, 0.2]
    y = np.where(rng.logistic(size=n) < z, "yes", "no")
    group = np.array(["a", "b", "c"])[np.digitize(z + rng.logistic(size=n), [-1, 1])]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"x{j}" for j in range(6)), "y", "group"])
        writer.writerows([*map(float, row), y[i], group[i]] for i, row in enumerate(x))


def run_commands(name: str, commands: list[str]) -> None:
    """Run the commands of one model in this process; a train command without -o writes NAME.safetensors."""
    from torchlogit.cli.main import main

    for command in commands:
        arguments = shlex.split(command.replace("MODEL", f"{name}.safetensors"))
        if arguments[0] == "train":
            arguments += [] if "-o" in arguments else ["-o", f"{name}.safetensors"]
            arguments += ["--quiet"]
        with patch.object(sys, "argv", ["torchlogit", *arguments]), redirect_stdout(None):
            main()


def save_pipeline(path: str) -> None:
    import pyarrow.csv
    from sklearn.pipeline import make_pipeline

    from torchlogit import LogisticRegression, TableEncoder, save

    table = pyarrow.csv.read_csv("adult.csv")
    X, y = table.drop_columns(["income"]), table.column("income").to_numpy()
    save(make_pipeline(TableEncoder(), LogisticRegression(l2=0.5)).fit(X, y), path)


def save_weighted_classes(path: str) -> None:
    from torchlogit import LogisticRegression, save

    rng = np.random.default_rng(5)
    X, weight = rng.standard_normal((300, 4)), rng.integers(0, 4, 300).astype(float)
    y = (X @ rng.standard_normal((4, 3)) + rng.gumbel(size=(300, 3))).argmax(axis=1)
    save(LogisticRegression(class_weight={0: 2.0, 1: 1.0, 2: 0.5}).fit(X, y, sample_weight=weight), path)


def save_sparse(path: str) -> None:
    import scipy.sparse

    from torchlogit import LogisticRegression, save

    rng = np.random.default_rng(6)
    X = scipy.sparse.random_array((400, 900), density=0.02, format="csr", rng=rng)
    save(LogisticRegression(l1=0.1).fit(X, rng.integers(0, 2, 400)), path)


def save_partial_fit(path: str) -> None:
    from torchlogit import LogisticRegression, save

    rng = np.random.default_rng(7)
    X, y = rng.standard_normal((500, 3)), rng.integers(0, 2, 500)
    save(LogisticRegression().partial_fit(X[:200], y[:200]).partial_fit(X[200:], y[200:]), path)


ESTIMATORS: dict[str, Callable[[str], None]] = {
    "pipeline": save_pipeline,
    "weighted-classes": save_weighted_classes,
    "sparse-l1": save_sparse,
    "partial-fit": save_partial_fit,
}


def file_of(name: str) -> str:
    return name if "." in name else f"{name}.safetensors"


def train_all(folder: Path) -> None:
    """Train every model in a folder, with the torchlogit that Python imports; print the files' hashes as JSON."""
    import torchlogit

    os.chdir(folder)
    write_tables(folder)
    torch.set_num_threads(1)
    found = {}
    for name in [*COMMANDS, *ESTIMATORS]:
        try:
            if name in COMMANDS:
                run_commands(name, COMMANDS[name])
            else:
                ESTIMATORS[name](file_of(name))
            found[name] = hashlib.sha256(Path(file_of(name)).read_bytes()).hexdigest()
        except (Exception, SystemExit) as error:
            found[name] = f"failed: {error!r}"
            print(f"{name} failed with {torchlogit.__file__}: {error!r}", file=sys.stderr)
    print(json.dumps(found))


def checkout_of(commit: str) -> Path:
    """A folder with the source files of a commit; it stays in the system's temporary folder for the next time."""
    archive = subprocess.run(["git", "archive", commit, "src"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    folder = Path(tempfile.gettempdir()) / f"torchlogit-{hashlib.sha256(archive).hexdigest()[:16]}"
    if not folder.exists():
        made = Path(tempfile.mkdtemp(dir=folder.parent))
        subprocess.run(["tar", "-x", "-C", made], input=archive, check=True)
        made.rename(folder)
    return folder


def start(checkout: Path, folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, str(Path(__file__).resolve()), "--into", str(folder)]
    return subprocess.Popen(command, env=environment, cwd=folder, text=True, stdout=subprocess.PIPE)


def compare(commit: str) -> int:
    """Print one line per file; return the number of files that differ, or that a checkout failed to write."""
    other = checkout_of(commit)
    drop_outdated()
    with tempfile.TemporaryDirectory() as here, tempfile.TemporaryDirectory() as there:
        processes = [start(ROOT, Path(here)), start(other, Path(there))]
        ours, theirs = (json.loads(process.communicate()[0]) for process in processes)
    wrong = [name for name in ours if ours[name] != theirs[name] or ours[name].startswith("failed")]
    for name, digest in ours.items():
        print(f"{name:20} {'DIFFERS' if name in wrong else 'same'}  {digest[:64]}")
        if name in wrong:
            print(f"{'':29}{theirs[name][:64]}  in {commit}")
    print(f"{len(ours) - len(wrong)} of {len(ours)} files are the same as those of {commit}")
    return len(wrong)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--into"]:
        train_all(Path(sys.argv[2]))
    else:
        sys.exit(bool(compare(sys.argv[1] if len(sys.argv) > 1 else "HEAD~")))
