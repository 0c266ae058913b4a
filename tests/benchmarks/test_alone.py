"""Inherited against stand-alone accuracy of twelve subnets. Printed: `pytest -m benchmark -s`.

A quarter of an hour of one core; `NAS_EDGE_STUDY=DIRECTORY` keeps the trainings, so that a run that was cut goes on,
`NAS_EDGE_EPOCHS` changes their length. The same by hand: `nas-edge evaluate fashion-mnist --study alone --epochs 30
--out DIRECTORY`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nas_edge.pipeline.alone.study import study_alone

pytestmark = pytest.mark.benchmark

EPOCHS = 30


def test_rank_correlation_of_inherited_and_stand_alone_accuracy(tmp_path: Path) -> None:
    out = Path(os.environ.get("NAS_EDGE_STUDY", tmp_path / "study"))
    report = study_alone("fashion-mnist", out, epochs=int(os.environ.get("NAS_EDGE_EPOCHS", EPOCHS)))
    print(f"\n{report.bundle}: three random subnets of each quartile of MACs, seed 0")
    print("\n".join(report.lines()))
    assert len(report.subnets) == 12
