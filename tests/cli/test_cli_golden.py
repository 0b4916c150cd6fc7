"""Golden transcripts: what each command prints, to the letter.

tests/golden/NAME.txt holds one command after `$`, its standard output, and below it, where there is any, its standard
error, the files it wrote, and its exit code. Figures that vary from run to run or from machine to machine (seconds,
bounds at the level of rounding, fingerprints, versions of libraries) are masked, and long decimals are rounded to six
digits: see MASKS in commands.py.

To write the transcripts anew after a change that is meant, and then to read what `git diff` shows:

    TORCHLOGIT_REGENERATE=1 python -m pytest tests/cli/test_cli_golden.py
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from commands import masked, torchlogit
from places import GOLDEN

REGENERATE = "TORCHLOGIT_REGENERATE"

PEOPLE = """\
age,job,member,visits,bought
22,clerk,true,3,no
25,clerk,false,1,no
27,smith,false,4,no
29,,true,2,yes
31,cook,false,5,no
33,smith,true,6,no
34,clerk,false,2,yes
36,cook,true,7,yes
37,clerk,false,3,no
39,smith,false,8,yes
41,cook,true,1,no
41,clerk,true,9,yes
44,smith,false,2,no
45,,false,6,yes
47,cook,false,4,yes
49,clerk,true,5,no
50,smith,true,9,yes
52,cook,false,3,yes
53,clerk,false,8,no
55,smith,true,1,yes
57,clerk,true,7,yes
58,cook,false,2,yes
60,smith,false,5,yes
63,clerk,true,4,no
"""
LATER = """\
age,job,member,visits,bought
24,clerk,true,2,no
35,cook,true,5,yes
48,smith,false,3,no
61,,false,6,yes
"""
PETS = """\
weight,indoors,pet
4.1,true,cat
3.6,true,cat
5.2,false,cat
9.5,true,cat
21.0,false,dog
8.3,true,dog
30.5,false,dog
4.4,true,dog
1.2,true,rabbit
2.3,false,rabbit
4.8,true,rabbit
1.9,true,rabbit
"""
NEW = """\
job,age,member,visits
clerk,30,true,4
pilot,40,false,4
nurse,50,true,4
"""
MUSHROOMS = """\
# label, then index:value
+1 1:1 4:1 7:0.5
-1 2:1 4:1
-1 2:1 5:1 7:2
+1 1:1 5:1 7:1.5
-1 3:1 4:1 7:1e-1
+1 3:1 6:1 # odd
-1 2:1 6:1 7:2.5
+1 1:1 6:1
"""
MORE_MUSHROOMS = """\
+1 qid:1 1:1 4:1 9:1
-1 qid:1 2:1 6:1 7:1
-1 qid:2 1:1 8:2 9:1
"""
REVIEWS = """\
{"body": "A fine film, a very fine film indeed", "stars": 5, "liked": true}
{"body": "Dull. Dull, dull, dull", "stars": 1, "liked": false}
{"body": "I liked the film, and the end above all", "stars": 4, "liked": true}
{"body": "The end is dull and the film is long", "stars": 2, "liked": false}
{"body": null, "stars": 3, "liked": true}
{"body": "Long, long, and no end", "stars": 3, "liked": false}
{"body": "Indeed a film to see", "stars": 4, "liked": true}
{"body": "No film to see", "stars": 2, "liked": false}
"""
TABLES = {
    "mushrooms.svm": MUSHROOMS,
    "more.svm": MORE_MUSHROOMS,
    "reviews.jsonl": REVIEWS,
    "people.csv": PEOPLE,
    "later.csv": LATER,
    "new.csv": NEW,
    "pets.csv": PETS,
    "typed.csv": LATER.replace(",no\n", ",no.\n").replace(",yes\n", ",yes.\n"),
    "free.csv": "story,y\n" + "".join(f"it was the case of number {i},{i % 2}\n" for i in range(30)),
    "separated.csv": "dose,alive\n1,yes\n2,yes\n3,yes\n4,yes\n5,no\n6,no\n7,no\n8,no\n",
}


@dataclass(frozen=True)
class Transcript:
    """A command, the commands that run before it unseen, and the files it writes that the transcript shows."""

    command: str
    before: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


TRAIN = "torchlogit train people.csv --target bought"
MLE = f"{TRAIN} --l2 0 --drop job -o mle.safetensors"
ALL_LEVELS = f"{TRAIN} --l2 0 --drop job --categorical member -o levels.safetensors"
PETS_MLE = "torchlogit train pets.csv --target pet --l2 0"
SEPARATED = "torchlogit train separated.csv --target alive --l2 0"
SVMLIGHT = "torchlogit train mushrooms.svm"
TEXT = "torchlogit train reviews.jsonl --text body --target liked"
HASHED = f"{TRAIN} --cross job:member --hash-bits 5"
TRANSCRIPTS = {
    "help": Transcript("torchlogit --help"),
    "no-command": Transcript("torchlogit"),
    "unknown-command": Transcript("torchlogit fit people.csv"),
    "version": Transcript("torchlogit --version"),
    **{f"help-{name}": Transcript(f"torchlogit {name} --help")
       for name in ("demo", "train", "predict", "evaluate", "inspect")},
    "train": Transcript(TRAIN),
    "train-json": Transcript(f"{TRAIN} --json"),
    "train-quiet": Transcript(f"{TRAIN} --quiet"),
    "train-holdout": Transcript(f"{TRAIN} --holdout 0.3 --seed 1"),
    "train-valid": Transcript(f"{TRAIN} --valid later.csv"),
    "train-valid-json": Transcript(f"{TRAIN} --valid later.csv --json"),
    "train-maximum-likelihood": Transcript(MLE),
    "train-several-classes": Transcript(PETS_MLE),
    "train-positive": Transcript(f"{TRAIN} --positive no"),
    "train-l1": Transcript(f"{TRAIN} --l1 2 --l2 0"),
    "train-l2-auto": Transcript(f"{TRAIN} --l2 auto"),
    "train-weight": Transcript(f"{TRAIN} --weight visits"),
    "train-class-weight": Transcript(f"{TRAIN} --class-weight balanced"),
    "train-kinds": Transcript(f"{TRAIN} --categorical visits --drop member,job"),
    "train-budget": Transcript(f"{TRAIN} --max-iter 1"),
    "train-all-levels": Transcript(ALL_LEVELS),
    "train-separated": Transcript(f"{SEPARATED} --require-certificate"),
    "train-separated-json": Transcript(f"{SEPARATED} --json"),
    "train-separated-penalty": Transcript("torchlogit train separated.csv --target alive --require-certificate"),
    "predict": Transcript("torchlogit predict people.safetensors later.csv", (TRAIN,)),
    "predict-unseen": Transcript("torchlogit predict people.safetensors new.csv", (TRAIN,)),
    "predict-csv": Transcript("torchlogit predict people.safetensors later.csv -o p.csv", (TRAIN,), ("p.csv",)),
    "predict-parquet": Transcript(
        "torchlogit predict people.safetensors later.csv -o p.parquet", (TRAIN,), ("p.parquet",)
    ),
    "predict-several-classes": Transcript(
        "torchlogit predict pets.safetensors pets.csv", ("torchlogit train pets.csv --target pet --quiet",)
    ),
    "evaluate": Transcript("torchlogit evaluate people.safetensors later.csv", (TRAIN,)),
    "evaluate-weight": Transcript("torchlogit evaluate people.safetensors later.csv --weight visits", (TRAIN,)),
    "evaluate-json": Transcript("torchlogit evaluate people.safetensors later.csv --json", (TRAIN,)),
    "evaluate-unknown-labels": Transcript("torchlogit evaluate people.safetensors typed.csv", (TRAIN,)),
    "inspect": Transcript("torchlogit inspect people.safetensors", (TRAIN,)),
    "inspect-maximum-likelihood": Transcript("torchlogit inspect mle.safetensors", (MLE,)),
    "inspect-all-levels": Transcript("torchlogit inspect levels.safetensors", (ALL_LEVELS,)),
    "inspect-several-classes": Transcript("torchlogit inspect pets.safetensors", (PETS_MLE,)),
    "inspect-separated": Transcript("torchlogit inspect separated.safetensors", (SEPARATED,)),
    "inspect-json": Transcript("torchlogit inspect mle.safetensors --json", (MLE,)),
    "train-svmlight": Transcript(SVMLIGHT),
    "train-svmlight-target": Transcript(f"{SVMLIGHT} --target label1"),
    "train-no-target": Transcript("torchlogit train people.csv"),
    "predict-svmlight": Transcript("torchlogit predict mushrooms.safetensors more.svm", (SVMLIGHT,)),
    "evaluate-svmlight": Transcript("torchlogit evaluate mushrooms.safetensors more.svm", (SVMLIGHT,)),
    "inspect-svmlight": Transcript("torchlogit inspect mushrooms.safetensors", (SVMLIGHT,)),
    "train-text": Transcript(TEXT),
    "train-text-hashed": Transcript(f"{TEXT} --hash-bits 6"),
    "evaluate-text": Transcript("torchlogit evaluate reviews.safetensors reviews.jsonl", (TEXT,)),
    "train-free-text": Transcript("torchlogit train free.csv --target y"),
    "train-cross": Transcript(f"{TRAIN} --cross job:member"),
    "train-hashed": Transcript(HASHED),
    "predict-hashed": Transcript("torchlogit predict people.safetensors new.csv", (HASHED,)),
    "inspect-hashed": Transcript("torchlogit inspect people.safetensors", (HASHED,)),
    "demo": Transcript("torchlogit demo"),
}  # fmt: skip


def record(folder: Path, transcript: Transcript) -> str:
    """The transcript of a command run in a folder with the tables."""
    for name, content in TABLES.items():
        (folder / name).write_text(content, encoding="utf-8")
    for command in transcript.before:
        assert torchlogit(folder, *shlex.split(command)[1:]).code == 0
    ended = torchlogit(folder, *shlex.split(transcript.command)[1:])
    parts = [f"$ {transcript.command}\n", ended.stdout]
    parts += ["--- standard error\n", ended.stderr] if ended.stderr else []
    for name in transcript.files:
        parts += [f"--- {name}\n", _shown(folder / name)]
    assert all(part.endswith("\n") for part in parts if part)
    return masked("".join([*parts, f"--- exit code {ended.code}\n"]))


def _shown(path: Path) -> str:
    if path.suffix != ".parquet":
        return path.read_text(encoding="utf-8")
    table = pq.read_table(path)
    rows = [", ".join(f"{name} {value}" for name, value in row.items()) for row in table.to_pylist()]
    return "\n".join([*(f"{field.name}: {field.type}" for field in table.schema), *rows, ""])


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_a_command_prints_what_its_transcript_says(name: str, tmp_path: Path) -> None:
    path = GOLDEN / f"{name}.txt"
    found = record(tmp_path, TRANSCRIPTS[name])
    if os.environ.get(REGENERATE) == "1":
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


def test_every_transcript_is_some_commands() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(TRANSCRIPTS)


def test_the_transcripts_hold_no_path_of_the_machine_that_wrote_them() -> None:
    for path in GOLDEN.glob("*.txt"):
        assert not re.search(r"/(tmp|work|home|root|Users)\b", path.read_text(encoding="utf-8")), path.name


def test_masks_leave_what_is_stable() -> None:
    stable = "objective    0.62010036  (mean log loss)\n    1    0.1400395    0.4793889\nno 26 (43.3%)"
    assert masked(stable) == stable
    assert masked('{"bound": 2.2e-14, "objective": 0.62010035976764, "auc": null}') == (
        '{"bound": <bound>, "objective": 0.6201, "auc": null}'
    )


def test_the_demo_draws_its_picture(tmp_path: Path) -> None:
    ended = torchlogit(tmp_path, "demo", "--picture", "curve.svg")
    assert ended.code == 0
    assert ended.stdout.endswith("\npicture      curve.svg\n")
    assert (tmp_path / "curve.svg").read_text(encoding="utf-8").startswith("<svg ")
