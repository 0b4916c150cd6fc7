"""Attack the certificate: fit problems of every kind, judge all claims in exact arithmetic, and print a table.

    python scripts/attack.py [PROBLEMS_OF_EACH_KIND] [--kinds NAME ...] [--first SEED] [--show]

Columns: problems; those certified, those with a bound and not certified, those called separated, those refused or
diverged; those with a fault of each sort, and with any; those separated and not said to be (missed); those whose bound
was neither shown nor refuted (open); the largest gap less its bound in nats; seconds of fitting, and in all. --show
prints every fault with its kind and seed: `problem(kind, seed)` of tests/attack/problems.py makes the problem again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests")]

import torch  # noqa: E402

from attack.judge import MISSED, SORTS, Verdict, judged  # noqa: E402
from attack.problems import KINDS, problem  # noqa: E402

COUNTS = ("problems", "certified", "bounded", "separated", "refused", *SORTS, "faults", MISSED, "open")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="?", type=int, default=20)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    total: Counter[str] = Counter()
    print(_line("kind", *COUNTS, "excess", "fit s", "all s"))
    for name in options.kinds:
        start = time.perf_counter()
        verdicts = [judged(problem(name, seed)) for seed in range(options.first, options.first + options.problems)]
        counts = _counts(verdicts)
        total.update(counts)
        worst = max((v.gap - v.bound for v in verdicts if v.gap is not None and v.bound is not None), default=0.0)
        seconds = f"{sum(v.seconds for v in verdicts):.1f}", f"{time.perf_counter() - start:.1f}"
        excess = f"{worst:.0e}" if worst > 0 else ""
        print(_line(name, *(counts[key] for key in COUNTS), excess, *seconds), flush=True)
        for verdict in verdicts if options.show else []:
            for fault in verdict.faults:
                print(f"    {name} {verdict.problem.seed}: {verdict.status}: {fault.sort}: {fault.text}")
    print(_line("all", *(total[key] for key in COUNTS)))
    thousand = 1000 / max(total["problems"], 1)
    print("per thousand problems:", ", ".join(f"{thousand * total[key]:.1f} {key}" for key in COUNTS[1:]))


def _counts(verdicts: list[Verdict]) -> Counter[str]:
    """The numbers of verdicts, by the names in COUNTS."""
    counts: Counter[str] = Counter(problems=len(verdicts))
    for verdict in verdicts:
        sorts = {fault.sort for fault in verdict.faults}
        counts.update(sorts)
        counts["certified"] += verdict.status == "certified"
        counts["bounded"] += verdict.bound is not None and verdict.status != "certified"
        counts["separated"] += verdict.status == "separated"
        counts["refused"] += verdict.status in ("InputError", "DivergedError", "diverged")
        counts["faults"] += bool(sorts - {MISSED})
        counts["open"] += verdict.undecided
    return counts


def _line(name: str, *cells: object) -> str:
    return name.ljust(24) + "".join(str(cell).rjust(11) for cell in cells)


if __name__ == "__main__":
    main()
