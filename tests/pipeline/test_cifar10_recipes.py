"""The recipes for CIFAR-10, for a few steps on pictures of noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nas_edge.data import Preprocess, load_dataset
from nas_edge.pipeline.running.pipelines import find_pipeline, read_pipeline
from nas_edge.pipeline.running.steps import AloneArguments, TrainArguments
from nas_edge.progress import silent
from nas_edge.spaces import SearchSpace
from nas_edge.training.recipe import Recipe
from nas_edge.training.supernet_run import SupernetRun, train_supernet
from tests.pipeline.cifar10 import made_up


@pytest.mark.parametrize(("name", "minutes"), [("cifar10", 180), ("cifar10-gpu", 25)])
def test_a_recipe_trains_the_space_it_names(
    name: str, minutes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made_up(tmp_path / "data" / "cifar10", images=10)
    (step,) = read_pipeline(find_pipeline(name))
    arguments = step.arguments
    assert isinstance(arguments, TrainArguments)
    assert (arguments.data, arguments.name, arguments.space) == ("cifar10", "cifar10", "mbv3-32")
    assert arguments.time_limit == 60 * minutes
    template = SearchSpace.named(arguments.space).template
    recipe = replace(Recipe.from_dict(arguments.recipe), epochs=2, teacher_epochs=1, batch_size=16)
    dataset = load_dataset(arguments.data)
    assert len(dataset.test) == 10
    run = SupernetRun(template, dataset, Preprocess(), recipe, None, tmp_path / "out", watch_every=2)
    (tmp_path / "out").mkdir()
    net, done = train_supernet(run)
    assert done.epochs == 2
    assert done.steps == 2 * (len(dataset.train) // 16)
    assert all(torch.isfinite(tensor).all() for tensor in net.state_dict().values())
    history = (tmp_path / "out" / "history.csv").read_text().splitlines()
    assert history[0] == "epoch,step,seconds,loss,smallest,middle,largest"
    assert np.isfinite([float(value) for value in history[-1].split(",")]).all()


def test_the_recipe_of_one_network_trains_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made_up(tmp_path / "data" / "cifar10", images=10)
    (step,) = read_pipeline(find_pipeline("cifar10-alone-gpu"))
    assert isinstance(step.arguments, AloneArguments)
    assert step.arguments.time_limit == 2 * 3600
    few = {**step.arguments.recipe, "batch_size": 16, "epochs": 2, "warmup_epochs": 0.5}
    report = step.arguments.model_copy(update={"recipe": few}).execute(tmp_path / "out", {}, silent).to_json()
    assert report["params"] <= 3.3e6
    assert report["trained"]["epochs"] == 2
    assert {name: report["recipe"][name] for name in few if name not in ("bf16", "augmentation")} == {
        name: value for name, value in few.items() if name not in ("bf16", "augmentation")
    }
    assert report["recipe"]["augmentation"]["random_ops"] == 2
