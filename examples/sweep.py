"""A parameter sweep in worker processes: every setting is cross-validated, those that fail stop nothing, the best is named.

pip install plait scikit-learn
python examples/sweep.py             # 36 settings on all CPUs
python examples/sweep.py --compare   # and once more one after another, in this process
python examples/sweep.py --small     # 4 settings
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from functools import cache
from itertools import product
from typing import Any

import plait

# One thread for each process, or they fight for the CPUs. Before NumPy is imported; workers import this file too.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

try:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import cross_val_score
    from sklearn.svm import NuSVC
except ImportError:
    print("this example needs scikit-learn: pip install scikit-learn", file=sys.stderr)
    sys.exit(2)

NU = (0.02, 0.05, 0.1, 0.2, 0.4, 1.0)  # 1.0 is infeasible with these data: the failure of a real sweep
GAMMA = (0.003, 0.01, 0.03, 0.1, 0.2, 0.3)


@cache
def digits() -> tuple[Any, Any]:
    """1,797 images and what they show; each worker loads them once instead of being sent them with every call."""
    images, numbers = load_digits(return_X_y=True)
    return images / 16, numbers


@plait.task(executor="process", timeout="60s", allow_failure=True)
def score(nu: float, gamma: float) -> dict[str, float]:
    found = cross_val_score(NuSVC(nu=nu, gamma=gamma), *digits(), cv=10, error_score="raise")
    return {"nu": nu, "gamma": gamma, "mean": float(found.mean()), "std": float(found.std())}


@plait.task
def best(scores: list[dict[str, float] | None]) -> dict[str, float]:
    """The best of those that worked: a setting that failed is None here."""
    return max((each for each in scores if each is not None), key=lambda each: each["mean"])


def sweep(settings: list[tuple[float, float]]) -> plait.RunResult:
    graph = plait.Graph("sweep")
    scores = [graph.add(key(*setting), score, args=setting) for setting in settings]
    graph.add("best", best, args=(scores,))
    return plait.run(graph, raise_on_failure=False)


def one_after_another(settings: list[tuple[float, float]]) -> dict[str, float]:
    """The same without plait: a task function is called as any other."""
    scores: list[dict[str, float] | None] = []
    for setting in settings:
        try:
            scores.append(score(*setting))
        except ValueError:
            scores.append(None)
    return best(scores)


def key(nu: float, gamma: float) -> str:
    return f"nu={nu} gamma={gamma}"


def show(result: plait.RunResult, settings: list[tuple[float, float]]) -> None:
    outcomes = [result[key(*setting)] for setting in settings]
    print("   nu   gamma  accuracy    std")
    for row in sorted((each.value for each in outcomes if each.ok), key=lambda row: -row["mean"])[:5]:
        print(f"{row['nu']:5} {row['gamma']:7} {row['mean']:9.4f} {row['std']:6.4f}")
    for each in outcomes:
        if not each.ok:
            print(f"{each.key} {each.status}: {each.error}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Cross-validates many settings at once.")
    parser.add_argument("--compare", action="store_true", help="the same sweep one after another, for its time")
    parser.add_argument("--small", action="store_true", help="4 settings instead of 36")
    options = parser.parse_args()
    settings = list(product((0.05, 1.0), (0.01, 0.1))) if options.small else list(product(NU, GAMMA))

    began = time.perf_counter()
    result = sweep(settings)
    wall = time.perf_counter() - began
    show(result, settings)
    if not result["best"].ok:
        print(result.reason, file=sys.stderr)
        return 1
    chosen = result["best"].value
    print(f"best: {key(chosen['nu'], chosen['gamma'])}")
    print(f"{len(settings)} settings in {wall:.1f} s, the start of the workers included ({os.cpu_count()} CPUs)")
    if options.compare:
        began = time.perf_counter()
        same = one_after_another(settings) == chosen
        alone = time.perf_counter() - began
        print(
            f"one after another: {alone:.1f} s, {'the same' if same else 'another'} best; speed-up {alone / wall:.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
