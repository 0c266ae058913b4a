"""How long a process takes from start to end: `pytest -m benchmark -s tests/benchmarks/test_start.py`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

_SCRIPT = (
    "import sys\nfrom nas_edge.cli.main import invoke\ncode = invoke(sys.argv[1:])\n"
    "print('torch' in sys.modules, file=sys.stderr)\nsys.exit(code)"
)


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("what", "arguments"),
    [
        ("nas-edge --help", ["--help"]),
        (
            "unverified search of 50,000 evaluations",
            ["search", "--target", "jetson", "--latency", "20ms", "--evaluations", "50000"],
        ),
        (
            "the same on this CPU",
            ["search", "--target", "local", "--latency", "1ms", "--no-verify", "--evaluations", "50000"],
        ),
    ],
)
def test_time_from_start_to_end_of_a_process(what: str, arguments: list[str], tmp_path: Path) -> None:
    seconds, torch = [], ""
    for _ in range(7):
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        seconds.append(time.perf_counter() - begun)
        assert done.returncode == 0, done.stderr
        torch = done.stderr.split()[-1]
    assert torch == "False"
    print(
        f"\n{what}: {statistics.median(seconds):.2f} s (median of 7, process start included), torch imported: {torch}"
    )
