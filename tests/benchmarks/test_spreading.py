"""Evaluating subnets in one process and in two. Printed: `pytest -m benchmark -s`; ratios hold on an idle machine."""

from __future__ import annotations

import time

import numpy as np
import pytest

from nas_edge.pipeline.bundle import load_bundle
from nas_edge.pipeline.networks import bundle_dataset, bundle_evaluator, bundle_views
from nas_edge.spaces import Precision
from nas_edge.spreading.processes import InProcess, Processes
from nas_edge.training.measuring.subnet_work import OpenSubnets
from nas_edge.training.measuring.subnets import choose_subnets

pytestmark = pytest.mark.benchmark

SUBNETS = 24


def test_two_processes_over_one() -> None:
    bundle = load_bundle("trashnet-mcu")
    evaluator, split = bundle_evaluator(bundle), bundle_dataset(bundle, None).search
    work = OpenSubnets(bundle.supernet(), evaluator, split, bundle_views(bundle), Precision.FP32)
    rows = list(choose_subnets(bundle.space, bundle.num_classes, SUBNETS, seed=0))
    found, seconds, first = {}, {}, {}
    for name, executor in (
        ("this process", InProcess()),
        ("one process", Processes(1)),
        ("two processes", Processes(2)),
    ):
        began, answers = time.monotonic(), {}
        for number, correct in executor.run(work, rows):
            first.setdefault(name, time.monotonic() - began)
            answers[number] = correct
        seconds[name] = time.monotonic() - began
        found[name] = np.stack([answers[number] for number in range(len(rows))])
    print(f"\n{len(rows)} subnets of {bundle.name}, {len(split)} images in {len(work.views)} views, one thread each")
    print(f"{'':<16}{'all':>9}{'first':>9}{'over this process':>20}")
    for name, answers in found.items():
        ratio = seconds["this process"] / seconds[name]
        print(f"{name:<16}{seconds[name]:>7.1f} s{first[name]:>7.1f} s{ratio:>20.2f}")
        assert (answers == found["this process"]).all()
