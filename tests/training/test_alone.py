"""One network alone: which epoch's weights are kept, over sittings and in a directory that was used before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nas_edge.data import Dataset, Preprocess
from nas_edge.spaces import SearchSpace, Template
from nas_edge.supernet.weights import write_tensors
from nas_edge.training.measuring.evaluate import Evaluator
from nas_edge.training.running.loop import CHECKPOINT
from nas_edge.training.single.alone import BEST, Alone, alone_recipe, fresh_network, train_alone

from .test_loop import RECIPE

ALONE = alone_recipe(replace(RECIPE, drop_connect=0.0), 2, 0)


def trained(dataset: Dataset, template: Template, out: Path, **options) -> Alone:
    out.mkdir(exist_ok=True)
    space = SearchSpace(template)
    net = fresh_network(space, space.smallest(), 2, ALONE)
    evaluator = Evaluator(dataset.train, Preprocess())
    return train_alone(net, dataset, Preprocess(), ALONE, evaluator, out, **options)


def keep_perfect(template: Template, path: Path) -> None:
    """As an earlier training of the same shapes would have left it."""
    space = SearchSpace(template)
    state = fresh_network(space, space.smallest(), 2, replace(ALONE, seed=5)).state_dict()
    write_tensors(path, state, {"epoch": "40", "accuracy": "1.0"})


def test_a_training_that_begins_knows_nothing_of_the_best_of_another(
    dataset: Dataset, striped_template: Template, tmp_path: Path
) -> None:
    whole = trained(dataset, striped_template, tmp_path / "whole")
    again = tmp_path / "again"
    again.mkdir()
    keep_perfect(striped_template, again / BEST)
    found = trained(dataset, striped_template, again)
    assert (found.epoch, found.accuracy) == (whole.epoch, whole.accuracy)
    for name, tensor in whole.net.state_dict().items():
        assert torch.equal(tensor, found.net.state_dict()[name]), name


def test_nor_does_it_where_it_is_cut_before_its_first_epoch_ends(
    dataset: Dataset, striped_template: Template, tmp_path: Path
) -> None:
    keep_perfect(striped_template, tmp_path / BEST)

    def die(done: float, total: float, text: str) -> None:
        if done > 0.4:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trained(dataset, striped_template, tmp_path, progress=die)
    assert trained(dataset, striped_template, tmp_path).epoch in (1, 2)


def test_going_on_it_does(dataset: Dataset, striped_template: Template, tmp_path: Path) -> None:
    trained(dataset, striped_template, tmp_path)
    assert (tmp_path / CHECKPOINT).exists()
    keep_perfect(striped_template, tmp_path / BEST)
    assert trained(dataset, striped_template, tmp_path).epoch == 40
