"""A fit that is stopped, killed, or out of disk, goes on to the same bits; what is no checkpoint of it is refused."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import cases
import torchlogit
from cases import KINKED, PROBLEMS
from places import GOLDEN, TESTS
from torchlogit import checkpoints as checkpoints_room
from torchlogit.atomic import load_tree, locked, map_tensors, save_tree
from torchlogit.checkpoints import FILE, FORMAT, KIND, Checkpoints
from torchlogit.errors import CheckpointError, InputError, TorchlogitWarning
from torchlogit.fit import Goal, fit
from torchlogit.losses import Logistic
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.records import FitProgress, FitResult, Params, State, Status
from torchlogit.solvers import Resumable
from torchlogit.solvers.dual.dual_ascent import DualAscent
from torchlogit.solvers.dual.softmax_ascent import SoftmaxAscent
from torchlogit.solvers.newton import stochastic_newton
from torchlogit.solvers.newton.model_choice import ModelChoice
from torchlogit.solvers.newton.stochastic_newton import StochasticNewton
from torchlogit.solvers.stochastic.sgd import SGD
from torchlogit.solvers.stochastic.tuning_free import SAGA

BY_NAME = {problem.name: problem for problem in PROBLEMS + KINKED}
PLAIN = BY_NAME["well-conditioned"]
ALWAYS = {"every_passes": 0.0}


def separable(columns: int = 2) -> Objective:
    """Two classes that a line parts, found out after some steps."""
    x = np.random.default_rng(0).standard_normal((60, columns))
    table = cases.Table(x, (x[:, :1] > 0).astype(float))
    return cases.objective_of(table, Logistic(), ElasticNet())


def few() -> Objective:
    """Rows few enough for many epochs."""
    return cases.objective_of(cases.table(n=60, d=3), Logistic(), ElasticNet(l2=1.0))


@dataclass(frozen=True)
class Case:
    """A fit, and how it ends."""

    name: str
    solver: Resumable
    objective: Callable[[], Objective]
    ends: Status
    goal: Goal = field(default_factory=Goal)


ENDINGS = [
    Case("newton", StochasticNewton(), PLAIN.objective, Status.CERTIFIED, Goal(tol=1e-9)),
    Case("softmax", StochasticNewton(), BY_NAME["softmax 3"].objective, Status.CERTIFIED),
    Case("l1", StochasticNewton(), BY_NAME["l1"].objective, Status.CERTIFIED, Goal(tol=1e-8)),
    Case("no penalty", StochasticNewton(), BY_NAME["no penalty"].objective, Status.CERTIFIED,
         Goal(standard_errors=0.01)),
    Case("separated", StochasticNewton(), separable, Status.SEPARATED),
    Case("as good as it gets", StochasticNewton(aim=1e-18), PLAIN.objective, Status.UNCERTIFIABLE, Goal(tol=1e-18)),
    Case("budget", StochasticNewton(), BY_NAME["strong signal"].objective, Status.BUDGET, Goal(max_iter=4)),
    Case("dual", DualAscent(), PLAIN.objective, Status.CERTIFIED),
    Case("dual, budget", DualAscent(), PLAIN.objective, Status.BUDGET, Goal(tol=1e-14, max_iter=30)),
    Case("softmax ascent", SoftmaxAscent(), BY_NAME["softmax 3"].objective, Status.CERTIFIED),
    Case("sgd, to its end", SGD(0.1, n_epochs=5, shuffle=True), few, Status.BUDGET),
    Case("sgd, diverging", SGD(1e200, n_epochs=30), few, Status.DIVERGED),
    Case("saga, budget", SAGA(), few, Status.BUDGET, Goal(tol=1e-12, max_iter=8)),
]  # fmt: skip
every_ending = pytest.mark.parametrize("case", ENDINGS, ids=cases.named)


def same(one: FitResult, other: FitResult) -> bool:
    """Bit for bit, but for the seconds."""
    params = ((one.params.coef, other.params.coef), (one.params.intercept, other.params.intercept))
    histories = [[replace(step, seconds=0.0) for step in result.history] for result in (one, other)]
    finite = bool(np.isfinite(one.certificate.objective))
    certificates = one.certificate == other.certificate if finite else repr(one.certificate) == repr(other.certificate)
    return all(torch.equal(*pair) for pair in params) and certificates and histories[0] == histories[1]


def fitted(case: Case, folder: Path | None = None, **options: Any) -> FitResult:
    checkpoints = None if folder is None else Checkpoints(folder, **options)
    return fit(case.objective(), case.solver, case.goal, checkpoints=checkpoints)


class Copies:
    """A monitor that copies every checkpoint: at each step that of the step before."""

    def __init__(self, folder: Path, to: Path) -> None:
        self.folder, self.to, self.made = folder, to, list[Path]()

    def __call__(self, progress: FitProgress) -> bool:
        self.copy()
        return False

    def copy(self) -> None:
        if (self.folder / FILE).exists():
            copy = self.to / f"copy {len(self.made)}"
            copy.mkdir(parents=True)
            shutil.copy(self.folder / FILE, copy)
            self.made.append(copy)


@every_ending
def test_a_fit_goes_on_from_every_checkpoint_to_the_same_answer(case: Case, tmp_path: Path) -> None:
    """The last one is that of the answer; and checkpoints change nothing."""
    alone, copies = fitted(case), Copies(tmp_path / "run", tmp_path)
    assert alone.certificate.status is case.ends, alone.certificate.message
    kept = Checkpoints(tmp_path / "run", **ALWAYS)
    assert same(alone, fit(case.objective(), case.solver, case.goal, monitors=[copies], checkpoints=kept))
    copies.copy()
    assert len(copies.made) == max(1, len(alone.history))
    for folder in [*copies.made[:: 1 + len(copies.made) // 6], copies.made[-1]]:
        assert same(alone, fitted(case, folder, resume=True)), folder.name


@every_ending
def test_a_fit_that_has_ended_takes_no_step(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fitted(case, tmp_path)
    for method in ("iterates", "resumed"):
        monkeypatch.setattr(type(case.solver), method, lambda *_: pytest.fail("a step is taken"))
    assert same(first, fitted(case, tmp_path, resume=True))
    assert [step.seconds for step in fitted(case, tmp_path, resume=True).history] == [
        step.seconds for step in first.history
    ]


@pytest.mark.parametrize("name", ["budget", "dual, budget", "saga, budget"])
def test_a_larger_budget_goes_on(name: str, tmp_path: Path) -> None:
    case = next(case for case in ENDINGS if case.name == name)
    fitted(case, tmp_path)
    more = replace(case, goal=replace(case.goal, max_iter=2 * case.goal.max_iter))
    assert same(fitted(more), fitted(more, tmp_path, resume=True))


# -- Ctrl-C -----------------------------------------------------------------------------------------------


def stopped(case: Case, folder: Path, after: int, how: Callable[[], bool]) -> FitResult:
    seen = []

    def stop(progress: FitProgress) -> bool:
        seen.append(progress)
        return len(seen) == after and how()

    return fit(case.objective(), case.solver, case.goal, monitors=[stop], checkpoints=Checkpoints(folder))


def interrupted() -> bool:
    raise KeyboardInterrupt


@pytest.mark.parametrize("how", [interrupted, lambda: True], ids=["Ctrl-C", "a watcher"])
@pytest.mark.parametrize(
    ("name", "after"),
    [("newton", 2), ("newton", 3), ("l1", 2), ("no penalty", 2), ("dual", 3), ("softmax ascent", 3),
     ("sgd, to its end", 3)],
)  # fmt: skip
def test_what_was_stopped_goes_on(name: str, after: int, how: Callable[[], bool], tmp_path: Path) -> None:
    """Never written before: what was noted is, when it is stopped."""
    case = next(case for case in ENDINGS if case.name == name)
    result = stopped(case, tmp_path, after, how)
    assert result.certificate.status is Status.BUDGET
    assert len(result.history) == after
    assert same(fitted(case), fitted(case, tmp_path, resume=True))


def test_ctrl_c_in_the_middle_of_a_step_keeps_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case, search, count = ENDINGS[0], stochastic_newton.line_search, 0

    def interrupted_at_the_third(line: Any) -> Any:
        nonlocal count
        count += 1
        found = search(line)  # by now the residuals are others
        return interrupted() if count == 3 else found

    with monkeypatch.context() as patch:
        patch.setattr(stochastic_newton, "line_search", interrupted_at_the_third)
        result = fitted(case, tmp_path)
    assert "interrupted" in result.certificate.message
    assert len(result.history) == 2
    assert same(fitted(case), fitted(case, tmp_path, resume=True))


def test_ctrl_c_before_the_first_step_after_a_checkpoint_leaves_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = ENDINGS[0]
    first = stopped(case, tmp_path, 2, interrupted)
    with monkeypatch.context() as patch:
        patch.setattr(stochastic_newton, "line_search", lambda line: interrupted())
        again = fitted(case, tmp_path, resume=True)
    assert same(first, again)
    assert same(fitted(case), fitted(case, tmp_path, resume=True))


def test_ctrl_c_without_any_answer_leaves_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(stochastic_newton, "line_search", lambda line: interrupted())
        with pytest.raises(KeyboardInterrupt):
            fitted(ENDINGS[0], tmp_path)
    assert not (tmp_path / FILE).exists()


# -- when -------------------------------------------------------------------------------------------------


def times_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **every: float) -> int:
    """Of a fit of 20 passes, a tick of the clock each, its end not counted."""
    clock, saves = [0.0], list[object]()

    def tick(progress: FitProgress) -> bool:
        clock[0] += 1
        return False

    monkeypatch.setattr("torchlogit.checkpoints.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("torchlogit.checkpoints.save_tree", lambda *parts: saves.append(parts))
    kept = Checkpoints(tmp_path, **every)
    fit(few(), SGD(0.1), monitors=[tick], checkpoints=kept)
    return len(saves) - 1


@pytest.mark.parametrize(
    ("every", "times"),
    [
        ({}, 2),
        ({"every_passes": 4}, 5),
        ({"every_passes": 7.5}, 2),
        ({"every_passes": 100, "every_seconds": 5}, 4),
        ({"every_passes": 0}, 20),
        ({"every_passes": 100, "every_seconds": 100}, 0),
    ],
)
def test_saves_by_passes_or_by_the_clock(
    every: dict[str, float], times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert times_saved(tmp_path, monkeypatch, **every) == times


# -- kill -9 ----------------------------------------------------------------------------------------------

HERE = {**os.environ, "PYTHONPATH": str(Path(torchlogit.__file__).parents[1])}
KILLED = """
import os, random, signal, sys, time
import torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
import cases
from torchlogit.checkpoints import Checkpoints
from torchlogit.fit import Goal, fit
from torchlogit.solvers.dual.dual_ascent import DualAscent
from torchlogit.solvers.newton.stochastic_newton import StochasticNewton
from torchlogit.atomic import save_tree

problem = next(p for p in cases.PROBLEMS + cases.KINKED if p.name == {problem!r})
solver, goal = {solver}, Goal({goal})


def run(folder):
    kept = Checkpoints(folder, resume=True, every_passes=0)
    result = fit(problem.objective(), solver, goal, checkpoints=kept)
    steps = [[step.passes, step.objective, step.bound] for step in result.history]
    answer = {{"coef": result.params.coef, "intercept": result.params.intercept, "steps": steps,
               "words": result.certificate.message, "bound": result.certificate.bound}}
    save_tree(__import__("pathlib").Path(folder + ".answer"), answer, "answer", 1)


def forked(folder, seconds=None):
    child = os.fork()
    if child == 0:
        try:
            run(folder)
            os._exit(0)
        finally:
            os._exit(1)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


run("whole")  # compiles and imports, for the children too
began = time.perf_counter()
run("timed")
took = time.perf_counter() - began
kills, draw = 0, random.Random({seed})
while kills < {kills}:
    ended = forked("killed", draw.uniform(0, 2 * took / {kills}))
    if ended != signal.SIGKILL:
        assert ended == 0, ended
        break
    kills += 1
assert forked("killed") == 0
print(kills)
"""


def killed_often(folder: Path, kills: int, problem: str, solver: str, goal: str) -> int:
    """How often a fit was killed before it had ended; the answers of it and of one left alone are in the folder."""
    values = {"tests": str(TESTS), "seed": 3, "kills": kills, "problem": problem}
    script = KILLED.format(**values, solver=solver, goal=goal)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=folder, env=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_killed_at_random_moments_the_answer_is_the_same_to_the_byte(tmp_path: Path) -> None:
    kills = killed_often(tmp_path, 5, "well-conditioned", "DualAscent()", "tol=1e-13, max_iter=200")
    assert kills >= 2
    assert (tmp_path / "killed.answer").read_bytes() == (tmp_path / "whole.answer").read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
@pytest.mark.parametrize(
    ("problem", "solver", "goal"),
    [
        ("well-conditioned", "DualAscent()", "tol=1e-13, max_iter=400"),
        ("strong signal", "StochasticNewton(aim=1e-15)", "tol=1e-15"),
        ("softmax 5, l1, some columns free", "StochasticNewton(max_dense=1, aim=1e-9)", "tol=1e-9"),
    ],
)
def test_killed_twenty_times(problem: str, solver: str, goal: str, tmp_path: Path) -> None:
    assert killed_often(tmp_path, 20, problem, solver, goal) >= 10
    assert (tmp_path / "killed.answer").read_bytes() == (tmp_path / "whole.answer").read_bytes()


def test_what_a_killed_process_had_begun_to_write_is_cleared_away(tmp_path: Path) -> None:
    fitted(ENDINGS[0], tmp_path)
    (tmp_path / f".{FILE}.x7b2").write_bytes(b"half")
    fitted(ENDINGS[0], tmp_path, resume=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["fit.lock", FILE]


# -- the disk ---------------------------------------------------------------------------------------------


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A small file system in memory; skips the test where it cannot be had."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounts a file system, as root alone may")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_the_checkpoint_before_and_the_fit_goes_on(tmp_path: Path) -> None:
    case, disk = ENDINGS[0], tmp_path / "disk"
    with mounted(disk, "size=64k"):
        stopped(case, disk / "run", 2, lambda: True)
        before = (disk / "run" / FILE).read_bytes()
        (disk / "filler").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize))
        with pytest.warns(TorchlogitWarning) as caught:
            result = fitted(case, disk / "run", resume=True)
        assert {str(warning.message) for warning in caught} == {
            f"no checkpoint was written: {disk / 'run' / FILE}: cannot write the file (No space left on device); "
            "nothing was changed"
        }
        assert same(fitted(case), result)
        assert (disk / "run" / FILE).read_bytes() == before
        assert sorted(file.name for file in (disk / "run").iterdir()) == ["fit.lock", FILE]
        (disk / "filler").unlink()
        assert same(fitted(case), fitted(case, disk / "run", resume=True))


def test_a_write_that_fails_keeps_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = ENDINGS[0]
    stopped(case, tmp_path, 2, lambda: True)
    before = (tmp_path / FILE).read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.warns(TorchlogitWarning, match="no checkpoint was written: .*No space left on device"):
            fitted(case, tmp_path, resume=True)
    assert (tmp_path / FILE).read_bytes() == before
    assert same(fitted(case), fitted(case, tmp_path, resume=True))


def test_a_folder_that_cannot_be_written_to_is_told_before_the_first_step(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "ro,size=64k"), pytest.raises(InputError) as caught:
        fitted(ENDINGS[0], tmp_path / "disk" / "run")
    assert str(caught.value) == (
        f"{tmp_path / 'disk' / 'run'}: cannot write there (Read-only file system); choose another folder"
    )
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write there \((File exists|Not a directory)\)"):
        fitted(ENDINGS[0], tmp_path / "file")


# -- what is refused --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint; to be copied."""
    folder = tmp_path_factory.mktemp("kept")
    stopped(ENDINGS[0], folder, 2, lambda: True)
    return folder


def refused(folder: Path, case: Case = ENDINGS[0], **options: Any) -> str:
    """What is said of the folder's checkpoint, of one line; what is there stays."""
    before = (folder / FILE).read_bytes()
    with pytest.raises(CheckpointError) as caught:
        fitted(case, folder, **{"resume": True, **options})
    assert (folder / FILE).read_bytes() == before
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{folder}")
    return message


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def bit_flipped(content: bytes) -> bytes:
    return content[:-100] + bytes([content[-100] ^ 4]) + content[-99:]


def number_changed(content: bytes) -> bytes:
    assert b'\\"passes\\": ' in content
    return content.replace(b'\\"passes\\": ', b'\\"passes\\":-')


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, "not a checkpoint of torchlogit, or a damaged one"),
        (lambda content: b"", "not a checkpoint of torchlogit, or a damaged one"),
        (lambda content: b"\0" * 1000, "not a checkpoint of torchlogit, or a damaged one"),
        (bit_flipped, "the checksum does not fit the contents: the checkpoint is damaged"),
        (number_changed, "the checksum does not fit the contents: the checkpoint is damaged"),
    ],
)
def test_a_damaged_one_is_refused(damage: Callable[[bytes], bytes], words: str, kept: Path, tmp_path: Path) -> None:
    shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
    (tmp_path / FILE).write_bytes(damage((kept / FILE).read_bytes()))
    assert refused(tmp_path) == f"{tmp_path / FILE}: {words}; start again in another folder"


@pytest.mark.parametrize(
    ("kind", "version", "words"),
    [
        ("snapshot", FORMAT, "not a checkpoint of torchlogit; choose another folder"),
        (KIND, 0, "checkpoint format 0, and this torchlogit reads format 3; use the version that wrote it, or "
                  "start again in another folder"),
        (KIND, FORMAT, "a part is missing or wrong ('facts'); start again in another folder"),
    ],
)  # fmt: skip
def test_a_foreign_or_older_one_is_refused(kind: str, version: int, words: str, tmp_path: Path) -> None:
    save_tree(tmp_path / FILE, {"a": torch.zeros(3)}, kind, version)
    assert refused(tmp_path) == f"{tmp_path / FILE}: {words}"


def test_a_model_file_is_no_checkpoint(tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "model-format-1.safetensors", tmp_path / FILE)
    assert refused(tmp_path) == f"{tmp_path / FILE}: not a checkpoint of torchlogit; choose another folder"


def changed(**parts: Any) -> Case:
    """The first case, on a table with these parts changed."""
    return replace(ENDINGS[0], objective=lambda: replace(PLAIN.objective(), **parts))


def with_other(name: str) -> Tensor:
    values = getattr(PLAIN.objective(), name).clone()
    values.reshape(-1)[17] = 0.5
    return values


def other_x() -> Objective:
    x = PLAIN.table().x.copy()
    x[250, 3] += 1e-9
    return cases.objective_of(replace(PLAIN.table(), x=x), Logistic(), ElasticNet(l2=1.0))


OTHERS: list[tuple[str, Case, dict[str, Any]]] = [
    ("rows 500, not 400", replace(ENDINGS[0], objective=lambda: PLAIN.objective().rows(0, 400)), {}),
    ("penalty.l2 1.0, not 2.0", changed(penalty=ElasticNet(l2=2.0)), {}),
    ("intercept True, not False", replace(ENDINGS[0], objective=BY_NAME["no intercept"].objective), {}),
    ("solver.name StochasticNewton, not DualAscent", replace(ENDINGS[0], solver=DualAscent()), {}),
    ("solver.seed 0, not 1", replace(ENDINGS[0], solver=StochasticNewton(seed=1)), {}),
    ("solver.choice None, not {", replace(ENDINGS[0], solver=StochasticNewton(choice=ModelChoice(wide=1))), {}),
    ("tol 1e-09, not 1e-06", replace(ENDINGS[0], goal=Goal()), {}),
    ("of other data (target differs)", changed(target=with_other("target")), {}),
    ("of other data (sample_weight differs)", changed(weight=with_other("weight")), {}),
    ("of other data (offset differs)", changed(offset=torch.zeros(500, 1, dtype=torch.float64)), {}),
    ("of other data (X differs)", replace(ENDINGS[0], objective=other_x), {}),
    ("of other data (data differs)", ENDINGS[0], {"data": "people.csv, changed"}),
]


@pytest.mark.parametrize(("words", "case", "options"), OTHERS, ids=[words for words, *_ in OTHERS])
def test_another_fit_is_refused_by_name(
    words: str, case: Case, options: dict[str, Any], kept: Path, tmp_path: Path
) -> None:
    shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
    message = refused(tmp_path, case, **options)
    assert words in message
    assert message.endswith("; use the settings and data that it was started with, or another folder")


def test_another_start_is_refused(kept: Path, tmp_path: Path) -> None:
    shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
    objective = PLAIN.objective()
    with pytest.raises(CheckpointError, match=r"of other data \(start differs\)"):
        fit(
            objective, ENDINGS[0].solver, ENDINGS[0].goal, start=objective.params(objective.start()),
            checkpoints=Checkpoints(tmp_path, resume=True),
        )  # fmt: skip


def test_a_folder_that_holds_a_fit_is_not_begun_anew(kept: Path, tmp_path: Path) -> None:
    shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
    message = refused(tmp_path, resume=False)
    assert (
        message == f"{tmp_path}: contains a fit already; continue it (resume=True, --resume), or choose another folder"
    )


def test_resuming_from_nothing_begins(tmp_path: Path) -> None:
    assert same(fitted(ENDINGS[0]), fitted(ENDINGS[0], tmp_path / "a" / "b", resume=True))


def test_other_circumstances_are_told_and_other_versions_refused(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
    now = checkpoints_room.circumstances()
    monkeypatch.setattr(checkpoints_room, "circumstances", lambda: {**now, "torchlogit": "99.0"})
    assert f"started with torchlogit {now['torchlogit']}, now 99.0; continue with that version" in refused(tmp_path)
    monkeypatch.setattr(checkpoints_room, "circumstances", lambda: {**now, "threads": 64})
    with pytest.warns(TorchlogitWarning, match=r"started with threads 1, now 64: the last digits may differ"):
        assert fitted(ENDINGS[0], tmp_path, resume=True).certificate.status is Status.CERTIFIED


def test_a_solver_that_cannot_go_on_is_refused_before_the_first_step(tmp_path: Path) -> None:
    class Forgetful:
        def iterates(self, objective: Objective, start: Params | None) -> Iterator[State]:
            pytest.fail("a step is taken")

    with pytest.raises(InputError, match=r"Forgetful cannot continue from a checkpoint \(it has no `resumed`\)"):
        fit(PLAIN.objective(), Forgetful(), checkpoints=Checkpoints(tmp_path))
    assert list(tmp_path.iterdir()) == []


class WithFunction(torch.optim.SGD):
    """Keeps a function in its state."""

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "hook": print}


def test_an_optimizer_that_cannot_be_kept_is_told_at_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"snapshot\.optimizer\.hook is a builtin_function_or_method, which a checkp"):
        fit(few(), SGD(optimizer=WithFunction), checkpoints=Checkpoints(tmp_path))


# -- locks ------------------------------------------------------------------------------------------------


def test_one_fit_at_a_time(tmp_path: Path) -> None:
    message = f"{tmp_path}: in use by process {os.getpid()}; wait until it ends, or choose another folder"
    with locked(tmp_path / "fit.lock"), pytest.raises(InputError) as caught:
        fitted(ENDINGS[0], tmp_path)
    assert str(caught.value) == message
    fitted(ENDINGS[0], tmp_path)


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    held = "import sys, time; from pathlib import Path; from torchlogit.atomic import locked\n" + (
        f"with locked(Path({str(tmp_path / 'fit.lock')!r})): print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", held], env=HERE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"in use by process {process.pid};"):
            fitted(ENDINGS[0], tmp_path)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (tmp_path / "fit.lock").read_text() == str(process.pid)
    fitted(ENDINGS[0], tmp_path)


# -- files ------------------------------------------------------------------------------------------------


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(equal(part, other[name]) for name, part in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return type(one) is type(other) and one == other


TREE = {
    "tensors": [torch.tensor(0.1, dtype=torch.float64), torch.zeros(0, 3), torch.arange(6.0).reshape(2, 3).T],
    "types": {str(kind): torch.ones(3, dtype=kind) for kind in (torch.uint8, torch.bool, torch.int32, torch.int64)},
    "numbers": [0.1, float("inf"), -0.0, 2**127 + 1, 1, True, None, "ä"],
    "empty": {"list": [], "mapping": {}},
}


def test_a_tree_comes_back_to_the_bit(tmp_path: Path) -> None:
    save_tree(tmp_path / "tree", TREE, "tree", 3)
    assert equal(TREE, load_tree(tmp_path / "tree", "tree", 3))
    first = (tmp_path / "tree").read_bytes()
    save_tree(tmp_path / "tree", TREE, "tree", 3)
    assert (tmp_path / "tree").read_bytes() == first


def test_a_tree_is_a_safetensors_file(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    save_tree(tmp_path / "tree", TREE, "tree", 1)
    assert equal(load_file(tmp_path / "tree")["tensors.2"], torch.arange(6.0).reshape(2, 3).T)


@pytest.mark.parametrize("value", [print, {1, 2}, b"bytes", np.float32(1.0)])
def test_what_is_nothing_for_a_tree_is_named(value: object) -> None:
    with pytest.raises(InputError, match=rf"^a\.1 is a {type(value).__name__}, which a checkpoint cannot hold"):
        map_tensors({"a": [0, value]}, lambda _, tensor: tensor.clone())
