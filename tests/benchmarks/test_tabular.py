"""Regret of the strategies on tables with a known optimum. Printed: `pytest -m benchmark -s`."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from nas_edge.pipeline.comparing.flow import compare_flow
from nas_edge.pipeline.comparing.request import CompareRequest
from tests.tables import write_benchmark

pytestmark = pytest.mark.benchmark

STRATEGIES = ("evolution", "aging", "local")


def compared(space: Path, out: Path, budget: str, objective: tuple[str, ...] = ()) -> None:
    request = CompareRequest(
        STRATEGIES, out, (budget,), seeds=10, evaluations=500, objectives=objective, space=str(space), plot=False
    )
    print("\n" + "\n".join(compare_flow(request).lines()[:-1]))


def test_a_made_up_benchmark_of_all_combinations(tmp_path):
    compared(write_benchmark(tmp_path / "all-combinations.csv", genes=9), tmp_path / "out", "latency<=9")


def test_5000_measured_networks_of_fbnets_space(shared_dir, tmp_path):
    packed = shared_dir / "data" / "latency" / "help_fbnet" / "fbnet_5000_latency.csv.gz"
    first, *rest = gzip.decompress(packed.read_bytes()).decode().splitlines()
    # There is no accuracy in it: the least latency on one phone among networks that keep another board busy.
    header = ",".join(["arch", *(f"metric.{device} ms:min" for device in first.split(",")[1:])])
    path = tmp_path / "fbnet-5000.csv"
    path.write_text("\n".join([header, *rest]))
    compared(path, tmp_path / "out", "raspi4>=30", ("pixel2",))
