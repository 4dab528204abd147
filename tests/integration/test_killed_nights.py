"""SIGKILL at random points of nightly relabelling: the end is that of undisturbed nights.

The long form takes 200 seeds of ten kills. RIBLINE_SOAK_SEEDS=0:50 takes a part of them, and
RIBLINE_SOAK_RESULTS names a file in which the results of several calls add up; what stands in it is
not run again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "killed_nights.py"


def run(folder: Path, first: int, end: int, results: Path) -> list[dict[str, float]]:
    command = [sys.executable, str(PROGRAM), str(folder), str(first), str(end), str(results)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in results.read_text().splitlines()]


def test_killed_nights_end_as_undisturbed_ones(tmp_path: Path) -> None:
    seeds = run(tmp_path, 0, 2, tmp_path / "results.jsonl")
    assert sum(seed["n_killed"] for seed in seeds) == 20
    assert max(seed["resumed_s"] for seed in seeds) < 30


@pytest.mark.soak
def test_two_thousand_killed_nights(tmp_path: Path) -> None:
    first, end = map(int, os.environ.get("RIBLINE_SOAK_SEEDS", "0:200").split(":"))
    default = str(tmp_path / "results.jsonl")
    seeds = run(tmp_path, first, end, Path(os.environ.get("RIBLINE_SOAK_RESULTS", default)))
    assert len(seeds) >= end - first
    assert max(seed["resumed_s"] for seed in seeds) < 30
