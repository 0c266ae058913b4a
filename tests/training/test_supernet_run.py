"""What a supernet's training tells of its start."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from nas_edge.data import Dataset, Preprocess
from nas_edge.spaces import Template
from nas_edge.supernet.inherit import inherit
from nas_edge.supernet.source import Source
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.recipe import Recipe
from nas_edge.training.supernet_run import SupernetRun, train_supernet


def test_what_was_taken_of_a_start_and_what_was_left_out_is_told(
    dataset: Dataset, striped_template: Template, tmp_path: Path
) -> None:
    fill = partial(inherit, source=Source.of(Supernet(striped_template, 5)))
    recipe = Recipe(epochs=1, teacher_epochs=0, batch_size=48, bf16=False)
    told: list[tuple[float, str]] = []
    train_supernet(
        SupernetRun(striped_template, dataset, Preprocess(), recipe, fill, tmp_path, watch_every=0),
        progress=lambda done, total, text: told.append((done, text)),
    )
    assert told[0] == (0, "start: 3 of 3 blocks have its weights; left out: its classifier")
