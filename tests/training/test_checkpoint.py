"""A checkpoint is read whole and fits what it is read into, or says what does not, and nothing has changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from nas_edge.data import Dataset
from nas_edge.errors import FormatError, NasEdgeError, TrainingError
from nas_edge.spaces import Template
from nas_edge.supernet.weights import write_tensors
from nas_edge.training.running.loop import CHECKPOINT
from nas_edge.training.running.stepping import Run

from .test_loop import RECIPE
from .test_never_losing_a_run import setting

Tensors, About = dict[str, Tensor], dict[str, str]


def saved(dataset: Dataset, template: Template, out: Path) -> Run:
    """A run of one step that has been saved."""
    run = Run(setting(dataset, template, out))
    at = run.resume()
    run.step(at, at.horizon, torch.arange(RECIPE.batch_size).numpy())
    run.save(replace(at, step=1))
    return run


def rewrite(path: Path, change: Callable[[Tensors, About], object]) -> None:
    """Change what a safetensors file holds and says."""
    with safe_open(str(path), "pt") as handle:
        tensors, about = {name: handle.get_tensor(name) for name in handle.keys()}, handle.metadata()  # noqa: SIM118
    change(tensors, about)
    write_tensors(path, tensors, about)


def test_what_was_saved_comes_back_bit_for_bit(dataset: Dataset, striped_template: Template, tmp_path: Path) -> None:
    run = saved(dataset, striped_template, tmp_path)
    again = Run(setting(dataset, striped_template, tmp_path))
    assert again.resume().step == 1
    for name, tensor in run.setting.net.state_dict().items():
        assert torch.equal(tensor, again.setting.net.state_dict()[name]), name
    for index, state in run.optimiser.state_dict()["state"].items():
        for name, tensor in state.items():
            assert torch.equal(tensor, again.optimiser.state_dict()["state"][index][name]), (index, name)


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (lambda t, a: t.update({"net.more": torch.zeros(2, 3)}), TrainingError, r"'more' .* \(2, 3\), there is none"),
        (lambda t, a: t.pop("net.classifier.linear.bias"), TrainingError, "'classifier.linear.bias' is missing"),
        (lambda t, a: t.update({"net.classifier.linear.bias": torch.zeros(3)}), TrainingError, r"\(3,\), not \(2,\)"),
        (lambda t, a: t.pop("average.classifier.linear.bias"), TrainingError, "'classifier.linear.bias' is missing"),
        (lambda t, a: t.update({"optimiser.999.exp_avg": torch.zeros(3)}), TrainingError, "'999.exp_avg'"),
        (lambda t, a: t.update({"optimiser.0.exp_avg": torch.zeros(3)}), TrainingError, r"'0.exp_avg' .* \(3,\)"),
        (lambda t, a: t.update({"other.a": torch.zeros(3)}), FormatError, "not a checkpoint that this version reads"),
        (lambda t, a: a.pop("position"), FormatError, "not a checkpoint that this version reads"),
        (lambda t, a: a.update(position=json.dumps({"place": 1})), FormatError, "not a checkpoint that this version"),
        (lambda t, a: a.update(recipe="{"), FormatError, "not a checkpoint that this version reads"),
        (lambda t, a: a.update(format="2"), FormatError, "not a checkpoint that this version reads"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_and_changes_nothing(
    dataset: Dataset,
    striped_template: Template,
    tmp_path: Path,
    change: Callable[[Tensors, About], object],
    error: type[NasEdgeError],
    told: str,
) -> None:
    saved(dataset, striped_template, tmp_path)
    rewrite(tmp_path / CHECKPOINT, change)
    run = Run(setting(dataset, striped_template, tmp_path))
    before = {name: tensor.clone() for name, tensor in run.setting.net.state_dict().items()}
    with pytest.raises(error, match=told):
        run.resume()
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.setting.net.state_dict().items())
    assert not run.optimiser.state


def test_a_checkpoint_of_a_larger_space_is_refused_by_name_and_shape(
    dataset: Dataset, striped_template: Template, tmp_path: Path
) -> None:
    (stage,) = striped_template.stages
    larger = replace(striped_template, stages=(replace(stage, depths=(1, 2, 3)),))
    saved(dataset, larger, tmp_path)
    with pytest.raises(TrainingError, match=r"is of another space: '\S+' has shape \(.*\), there is none"):
        Run(setting(dataset, striped_template, tmp_path)).resume()
