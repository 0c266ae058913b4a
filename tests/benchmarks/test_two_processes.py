"""Two processes on two cores against one process on one core, and against one on both, in one run.

`pytest -m benchmark -s tests/benchmarks/test_two_processes.py`
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.benchmark

ROUNDS = 4
SCRIPT = """
import json, sys, time
from pathlib import Path
import numpy as np
import torch
import torch.distributed as dist
from nas_edge.data import Dataset, Preprocess, Split
from nas_edge.data.images import ArrayImages
from nas_edge.spaces import preset
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.running.checkpoint import Position
from nas_edge.training.objectives.losses import Sandwich
from nas_edge.training.running.memory import keep_freed_memory
from nas_edge.training.recipe import Recipe
from nas_edge.training.running.schedule import Horizon
from nas_edge.training.running.stepping import Run, Setting
from nas_edge.training.together.workers import Workers, joined_workers

space, side, batch, rounds = sys.argv[1], *map(int, sys.argv[2:])
torch.set_num_threads(1)
keep_freed_memory()
rng = np.random.default_rng(0)
splits = {}
for name, n in (("train", 2 * batch), ("search", 20), ("test", 20)):
    pixels = rng.integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    splits[name] = Split(ArrayImages(pixels, name), np.arange(n), np.arange(n) % 10)
data = Dataset("noise", tuple("abcdefghij"), splits)
template = preset(space)
template = template.with_resolutions(tuple(r for r in template.resolutions if r <= side))
together, alone = Workers.present, Workers()

def run_of(present):
    Workers.present = staticmethod(present)
    recipe = Recipe(epochs=1, batch_size=batch, teacher_epochs=0)
    torch.manual_seed(0)
    net = Supernet(template, 10)
    net.to(memory_format=torch.channels_last)
    return Run(Setting(net, Sandwich(net, recipe, False), data, Preprocess(), side, recipe, Path(".")))

with joined_workers() as workers:
    single, both = run_of(lambda: alone), run_of(together)
    found = []
    for number in range(rounds + 1):
        at = Position(0, number, 1000, 0, 0.0, 0.0)
        took = []
        for run, threads in ((single, 1), (single, 2), (both, 1)):
            workers.wait()
            torch.set_num_threads(threads)
            begun = time.perf_counter()
            if run is both or workers.speaks:
                run.step(at, Horizon(1000), np.arange(batch))
            took.append(time.perf_counter() - begun)
        found.append(took)
    if workers.speaks:
        print(json.dumps(found[1:]))
"""


@pytest.mark.parametrize(("space", "side", "batch"), [("mbv3-32", 32, 128), ("lite0", 128, 64)])
def test_two_processes_on_two_cores_against_one_on_one(space: str, side: int, batch: int, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, str(script), space, str(side), str(batch), str(ROUNDS)],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    times = np.array(json.loads(done.stdout.splitlines()[-1]))
    one, threads, two = np.median(times, axis=0)
    ratio, of_threads = np.median(times[:, 0] / times[:, 2]), np.median(times[:, 0] / times[:, 1])
    print(f"\n{space} at {side} px, sandwich steps, {batch} images in all, median of {ROUNDS}")
    print(f"one process on one core {batch / one:.1f} images/s, two on two {batch / two:.1f}: ratio {ratio:.2f}")
    print(f"one process with two threads {batch / threads:.1f} images/s: ratio {of_threads:.2f}")
