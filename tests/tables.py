"""A made-up benchmark: every network of some genes, with an accuracy and a latency."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np


def write_benchmark(path: Path, genes: int = 7, choices: int = 3, seed: int = 0) -> Path:
    """A CSV table: more of everything costs more and is mostly better, in pairs and with some noise."""
    rng = np.random.default_rng(seed)
    worth, cost = rng.random((2, genes, choices)).cumsum(axis=2)
    pairs = rng.normal(0, 0.3, (genes, choices, choices))
    rows = np.array(list(itertools.product(range(choices), repeat=genes)))
    at = np.arange(genes)
    gain = worth[at, rows].sum(axis=1) + pairs[at, rows, np.roll(rows, 1, axis=1)].sum(axis=1)
    accuracy = 0.6 + 0.3 / (1 + np.exp(-(gain - gain.mean()) / gain.std())) + rng.normal(0, 0.003, len(rows))
    latency = cost[at, rows].sum(axis=1)
    header = ",".join([*(f"gene.x{i}" for i in range(genes)), "metric.latency ms", "metric.accuracy"])
    figures = zip(rows, latency, accuracy, strict=True)
    lines = [f"{','.join(map(str, row))},{ms:.6f},{right:.6f}" for row, ms, right in figures]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path
