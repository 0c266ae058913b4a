"""Progressive shrinking: what each phase draws, when channels are sorted, who teaches, and going on after a cut."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from nas_edge.data import Dataset, Preprocess
from nas_edge.data.augment import Augmentation
from nas_edge.errors import ConfigError
from nas_edge.spaces import SearchSpace, Template, preset
from nas_edge.supernet.supernet import Supernet
from nas_edge.training import supernet_run
from nas_edge.training.measuring.evaluate import Evaluator
from nas_edge.training.objectives.phases import Phase, sorts_channels, space_of
from nas_edge.training.objectives.shrinking import Shrinking
from nas_edge.training.recipe import Recipe
from nas_edge.training.supernet_run import SupernetRun, train_supernet

PHASES = (
    Phase("full", 8, 4e-3, warmup_epochs=0.5),
    Phase("kernel", 2, 2e-3, kernels=None),
    Phase("depth", 2, 2e-3, subnets=2, kernels=None, depths=None),
    Phase("expand", 3, 2e-3, subnets=2, kernels=None, depths=None, expands=None),
)
RECIPE = Recipe(
    batch_size=16, drop_connect=0.0, dropout=0.0, mixup=0.0, augmentation=Augmentation(area=(0.8, 1.0)), ema=0.9,
    teacher_epochs=0, epochs=15, phases=PHASES,
)  # fmt: skip


def run(dataset: Dataset, out: Path, template: Template, recipe: Recipe = RECIPE) -> SupernetRun:
    out.mkdir(exist_ok=True)
    return SupernetRun(template, dataset, Preprocess(), recipe, None, out, watch_every=0)


def test_phases_of_once_for_all_draw_what_its_paper_says() -> None:
    space = SearchSpace(preset("ofa-mbv3-w1.0"))
    rng = np.random.default_rng(0)

    def drawn(phase: Phase) -> tuple[set[float], set[float], set[int]]:
        kernels, expands, depths = set(), set(), set()
        for row in space_of(phase, space).sample(200, rng):
            arch = space.to_json(row)
            kernels |= {k for k in arch["ks"] if k}
            expands |= {e for e in arch["e"] if e}
            depths |= set(arch["d"])
        return kernels, expands, depths

    assert drawn(Phase("full", 1, 1e-3)) == ({7}, {6}, {4})
    assert drawn(Phase("kernel", 1, 1e-3, kernels=None)) == ({3, 5, 7}, {6}, {4})
    assert drawn(Phase("depth-1", 1, 1e-3, kernels=None, depths=2)) == ({3, 5, 7}, {6}, {3, 4})
    assert drawn(Phase("expand-1", 1, 1e-3, kernels=None, depths=None, expands=2)) == ({3, 5, 7}, {4, 6}, {2, 3, 4})
    assert space_of(Phase("all", 1, 1e-3, kernels=None, depths=None, expands=None), space).size() == space.size()


def test_channels_are_sorted_whenever_smaller_ratios_join() -> None:
    ratios = [1, 1, 2, None, None]
    phases = [Phase(str(n), 1, 1e-3, expands=count) for n, count in enumerate(ratios)]
    pairs = zip(phases, [None, *phases[:-1]], strict=True)
    assert [sorts_channels(phase, before) for phase, before in pairs] == [False, False, True, True, False]


def test_gradients_of_a_steps_subnets_add_up(striped_template: Template) -> None:
    images, targets = torch.randn(4, 3, 24, 24), functional.one_hot(torch.tensor([0, 1, 0, 1])).float()
    recipe = replace(RECIPE, label_smoothing=0.1)

    def gradient(count: int, pick: slice) -> torch.Tensor:
        torch.manual_seed(0)
        net = Supernet(striped_template, 2).train()
        phase = replace(PHASES[-1], subnets=count)
        objective = Shrinking(net, phase, recipe, False)
        archs = objective.space.sample(3, np.random.default_rng(4))[pick]
        archs[:, objective.column] = 1
        object.__setattr__(objective, "space", Fixed(objective.space, archs))
        objective.backward(images, targets, False, np.random.default_rng(0))
        return net.classifier.linear.weight.grad

    whole = gradient(3, slice(0, 3))
    parts = [gradient(1, slice(i, i + 1)) for i in range(3)]
    assert torch.allclose(whole, sum(parts), atol=1e-6)


class Fixed:
    """A space that draws what it is told to."""

    def __init__(self, space: SearchSpace, archs: np.ndarray) -> None:
        self.columns, self.archs = space.columns, archs

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        assert n == len(self.archs)
        return self.archs.copy()


def test_a_supernet_shrinks_and_the_full_network_teaches(
    dataset: Dataset, striped_template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teachers: list[bool] = []
    sorted_before: list[int] = []

    class Watched(Shrinking):
        def __init__(self, *arguments) -> None:
            super().__init__(*arguments)
            teachers.append(self.teacher is not None)

    def sort(net: Supernet, trained: SearchSpace) -> None:
        sorted_before.append(len(teachers))
        assert trained == space_of(PHASES[2], net.space)  # what the third phase trained must stay as it is

    monkeypatch.setattr(supernet_run, "Shrinking", Watched)
    monkeypatch.setattr(supernet_run, "sort_channels", sort)
    net, done = train_supernet(run(dataset, tmp_path, striped_template))
    assert (done.epochs, done.cut_short) == (15, False)
    assert teachers == [False, True, True, True]
    assert sorted_before == [3]  # before the fourth phase
    evaluator = Evaluator(dataset.train, Preprocess())
    for arch in (net.space.largest(), net.space.smallest()):
        subnet = evaluator.recalibrated(net, arch)
        assert evaluator.evaluate(subnet, subnet.resolution, dataset.search).accuracy > 0.8
    rows = list(csv.DictReader((tmp_path / "history.csv").open()))
    assert [row["phase"] for row in rows] == ["full"] * 8 + ["kernel"] * 2 + ["depth"] * 2 + ["expand"] * 3


class Cut(Exception):
    """Stands for a process that ends without a word."""


@pytest.mark.parametrize(("name", "moment"), [("kernel", 0.4), ("expand", 1.3)])
def test_a_cut_run_goes_on_within_its_phase_to_the_same_weights(
    dataset: Dataset, striped_template: Template, tmp_path: Path, name: str, moment: float
) -> None:
    recipe = replace(RECIPE, phases=tuple(replace(phase, epochs=2) for phase in PHASES))
    whole, _ = train_supernet(run(dataset, tmp_path / "whole", striped_template, recipe))

    def die(done: float, total: float, text: str) -> None:
        if text.startswith(name) and done > moment:
            raise Cut

    with pytest.raises(Cut):
        train_supernet(run(dataset, tmp_path / "cut", striped_template, recipe), progress=die)
    resumed, _ = train_supernet(run(dataset, tmp_path / "cut", striped_template, recipe))
    for key, tensor in whole.state_dict().items():
        if tensor.is_floating_point():
            assert torch.equal(tensor, resumed.state_dict()[key]), key


def test_phases_are_plain_data_and_wrong_ones_are_told() -> None:
    assert Recipe.from_dict(RECIPE.to_dict()) == RECIPE
    with pytest.raises(ConfigError, match="did you mean 'kernels'"):
        Recipe.from_dict({"phases": [{"name": "a", "epochs": 1, "learning_rate": 1e-3, "kernel": 2}]})
    with pytest.raises(ConfigError, match="different names"):
        Recipe(phases=(PHASES[0], PHASES[0]))
    for count in (0, 1.5, True):
        with pytest.raises(ConfigError, match="1 or more, or null"):
            Phase("a", 1, 1e-3, kernels=count)
    for name in ("", "a/b", "../a", "a,b", ".."):  # it is of a directory, and of a line in a CSV
        with pytest.raises(ConfigError, match="its name must be of letters"):
            Phase(name, 1, 1e-3)
    for wrong in ({"epochs": 2.5}, {"subnets": 1.5}, {"learning_rate": math.nan}, {"warmup_epochs": math.inf}):
        with pytest.raises(ConfigError, match=f"phase 'a'.*{next(iter(wrong))}"):
            Phase(**{"name": "a", "epochs": 1, "learning_rate": 1e-3, **wrong})


@pytest.mark.parametrize("idle", [{"epochs": 5}, {"learning_rate": 3e-3}, {"random_subnets": 4}, {"teacher_weight": 1}])
def test_what_would_change_nothing_beside_phases_is_refused(idle: dict[str, float]) -> None:
    phases = RECIPE.to_dict()["phases"]
    assert Recipe.from_dict({"phases": phases, "epochs": 30}).phases == PHASES
    with pytest.raises(ConfigError, match=f"beside phases {next(iter(idle))} would change nothing"):
        Recipe.from_dict({"phases": phases, **idle})
