"""From 3,000 photographs of one's own to a verified file: wall and CPU time. Printed: `pytest -m benchmark -s`.

The photographs are TrashNet's, which are embedded, and mirrored copies of some of them: a copy is of the same object as
its original, which the list says as a group. `NAS_EDGE_TIME_LIMIT` (default 4min) is given to the training,
`NAS_EDGE_PHOTOS` changes their number.
"""

from __future__ import annotations

import csv
import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from nas_edge.data import load_dataset

pytestmark = pytest.mark.benchmark

NAS_EDGE = [sys.executable, "-c", "import sys; from nas_edge.cli.main import main; main(sys.argv[1:])"]


def photographs(directory: Path, count: int) -> Path:
    """A list of JPEG files with the object that each shows."""
    dataset = load_dataset("trashnet")
    pictures = [(split, i) for split in dataset.splits.values() for i in range(len(split))]
    with open(directory / "photos.csv", "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("path", "label", "group"))
        for number in range(count):
            split, position = pictures[number % len(pictures)]
            picture = split.open(position)
            picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
            picture = picture.convert("RGB") if number < len(pictures) else ImageOps.mirror(picture.convert("RGB"))
            label = dataset.classes[int(split.labels[position])]
            path = directory / label / f"{number:05d}.jpg"
            path.parent.mkdir(exist_ok=True)
            picture.save(path, quality=92)
            writer.writerow((path.relative_to(directory), label, f"object {number % len(pictures)}"))
    return directory / "photos.csv"


def timed(title: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command and print what it took."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run([*NAS_EDGE, *arguments], capture_output=True, text=True, cwd=cwd, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{title:<10}{time.monotonic() - began:>8.0f} s wall{cpu_s:>8.0f} s CPU   nas-edge {' '.join(arguments)}")
    assert done.returncode == 0, done.stderr
    return done


def test_from_a_list_of_photographs_to_a_verified_file(tmp_path: Path) -> None:
    limit = os.environ.get("NAS_EDGE_TIME_LIMIT", "4min")
    spec = photographs(tmp_path, int(os.environ.get("NAS_EDGE_PHOTOS", "3000")))
    print()
    trained = timed(
        "train", "train", "--data", spec.name, "--space", "lite0", "--init", "efficientnet-lite0", "--out", "bundle",
        "--time-limit", limit, "--json", cwd=tmp_path,
    )  # fmt: skip
    said = [line for line in trained.stderr.splitlines() if re.search(r"\babout\b", line)]
    header = json.loads(trained.stdout)
    searched = timed("search", "search", "--bundle", "bundle", "--latency", "2ms", "--json", "--verify", cwd=tmp_path)
    run = json.loads(searched.stdout)["run"]
    exported = timed("export", "export", run, "--json", cwd=tmp_path)
    print("beforehand it said:", *said, sep="\n  ")
    largest = header["figures"]["search_split"]["largest"]
    fit = header["figures"]["accuracy_predictor"]
    print(f"epochs {header['trained']['epochs']}, training {header['trained']['training_hours'] * 60:.1f} min")
    print(f"largest {100 * largest['accuracy']:.1f} % on the search split, predictor's tau {fit['tau']:.2f}")
    assert Path(tmp_path, json.loads(exported.stdout)["model"]).is_file()
    assert json.loads(searched.stdout)["verified"]
    with open(spec, newline="") as handle:
        object_of = {row["path"]: row["group"] for row in csv.DictReader(handle)}
    objects = [{object_of[name] for name in split.names} for split in load_dataset(spec).splits.values()]
    assert sum(map(len, objects)) == len(set().union(*objects))  # no object in two splits
