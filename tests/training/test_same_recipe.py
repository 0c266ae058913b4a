"""A run in phases goes on with the recipe that it was begun with, in all of them, or says what is another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nas_edge.data import Dataset
from nas_edge.errors import FormatError, TrainingError
from nas_edge.spaces import Template
from nas_edge.training.recipe import Recipe
from nas_edge.training.running.loop import CHECKPOINT
from nas_edge.training.supernet_run import train_supernet

from .test_checkpoint import rewrite
from .test_shrinking import PHASES, RECIPE, Cut, run

SHORT = replace(RECIPE, phases=tuple(replace(phase, epochs=1, warmup_epochs=0.0) for phase in PHASES[:3]))
DEPTH = f"3-{PHASES[2].name}"
OTHERS = {
    "depths": (replace(SHORT.phases[2], depths=2), r"phases\.depth\.depths: none then, 2 now"),
    "subnets": (replace(SHORT.phases[2], subnets=4), r"phases\.depth\.subnets: 2 then, 4 now"),
    "learning_rate": (replace(SHORT.phases[2], learning_rate=1e-3), r"phases\.depth\.learning_rate: 0\.002 then, 0"),
    "name": (replace(SHORT.phases[2], name="deep"), r"phases: \['full', 'kernel', 'depth'\] then"),
}


@pytest.fixture(scope="module")
def cut(dataset: Dataset, striped_template: Template, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in three phases that ended without a word in the last."""
    out = tmp_path_factory.mktemp("cut")

    def die(done: float, total: float, text: str) -> None:
        if text.startswith("depth") and done > 0.5:
            raise Cut

    with pytest.raises(Cut):
        train_supernet(run(dataset, out, striped_template, SHORT), progress=die)
    return out


def refused(dataset: Dataset, out: Path, template: Template, recipe: Recipe, told: str) -> None:
    before = {path: path.read_bytes() for path in out.rglob(CHECKPOINT)}
    with pytest.raises(TrainingError, match=f"another recipe \\({told}"):
        train_supernet(run(dataset, out, template, recipe))
    assert {path: path.read_bytes() for path in out.rglob(CHECKPOINT)} == before


@pytest.mark.parametrize("name", OTHERS)
def test_what_another_phase_allows_is_another_recipe(
    dataset: Dataset, striped_template: Template, cut: Path, name: str
) -> None:
    phase, told = OTHERS[name]
    refused(dataset, cut, striped_template, replace(SHORT, phases=(*SHORT.phases[:2], phase)), told)


def test_phases_and_the_sandwich_rule_share_no_directory(
    dataset: Dataset, striped_template: Template, cut: Path, tmp_path: Path
) -> None:
    refused(
        dataset, cut, striped_template, replace(SHORT, phases=()), r"phases: \['full', 'kernel', 'depth'\] then, none"
    )
    sandwich = replace(SHORT, phases=(), epochs=1)
    train_supernet(run(dataset, tmp_path, striped_template, sandwich))
    refused(dataset, tmp_path, striped_template, replace(sandwich, phases=SHORT.phases), "phases: none then")


def test_a_phase_whose_file_is_deleted_cannot_be_another_while_later_ones_are_there(
    dataset: Dataset, striped_template: Template, cut: Path, tmp_path: Path
) -> None:
    for number, phase in enumerate(SHORT.phases[1:], 2):
        place = tmp_path / f"{number}-{phase.name}"
        place.mkdir()
        (place / CHECKPOINT).write_bytes((cut / place.name / CHECKPOINT).read_bytes())
    first = replace(SHORT.phases[0], learning_rate=1e-3)
    other = replace(SHORT, phases=(first, *SHORT.phases[1:]))
    refused(dataset, tmp_path, striped_template, other, r"phases\.full\.learning_rate: 0\.004 then, 0\.001 now")


def without_the_whole(source: Path, target: Path) -> Path:
    """A copy as an earlier nas-edge would have left it."""
    for path in source.rglob(CHECKPOINT):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True)
        copy.write_bytes(path.read_bytes())
        rewrite(copy, lambda tensors, about: about.pop("whole_recipe"))
    return target


def test_checkpoints_that_do_not_say_the_whole_recipe_go_on_as_far_as_they_can_be_held_to_it(
    dataset: Dataset, striped_template: Template, cut: Path, tmp_path: Path
) -> None:
    old = without_the_whole(cut, tmp_path / "old")
    slower = replace(SHORT.phases[1], learning_rate=1e-3)
    other = replace(SHORT, phases=(SHORT.phases[0], slower, SHORT.phases[2]))
    refused(dataset, old, striped_template, other, r"learning_rate: 0\.002 then, 0\.001 now")
    refused(dataset, old, striped_template, replace(SHORT, phases=SHORT.phases[:2]), f"a phase in {DEPTH} then, none")
    resumed, _ = train_supernet(run(dataset, old, striped_template, SHORT))
    whole, _ = train_supernet(run(dataset, tmp_path / "whole", striped_template, SHORT))
    for name, tensor in whole.state_dict().items():
        if tensor.is_floating_point():
            assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_damaged_checkpoint_is_said_before_any_is_loaded(
    dataset: Dataset, striped_template: Template, cut: Path, tmp_path: Path
) -> None:
    old = without_the_whole(cut, tmp_path / "old")
    (old / DEPTH / CHECKPOINT).write_bytes(b"half")
    with pytest.raises(FormatError, match=f"{DEPTH}.*not a whole safetensors file"):
        train_supernet(run(dataset, old, striped_template, SHORT))
