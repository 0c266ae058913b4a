"""Templates as data: round trip, contradictions, unknown names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas_edge.errors import ConfigError, FormatError, SpaceError, UnknownNameError
from nas_edge.files import write_yaml
from nas_edge.spaces import (
    BlockSpec,
    Kind,
    Precision,
    SearchSpace,
    Template,
    TermCosts,
    make_divisible,
    preset,
    preset_names,
    same_padding,
)


@pytest.mark.parametrize("name", preset_names())
def test_presets_survive_plain_data_and_yaml(name: str, tmp_path: Path) -> None:
    template = preset(name)
    assert Template.from_dict(json.loads(json.dumps(template.to_dict()))) == template
    write_yaml(tmp_path / "space.yaml", template.to_dict())
    assert SearchSpace.named(str(tmp_path / "space.yaml")).template == template


def test_an_unknown_space_is_told_with_near_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown space 'lite1'; did you mean lite0"):
        SearchSpace.named("lite1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format: 1"),
        ({"colour": "red"}, "colour"),
        ({"stages": [{"channels": 8, "stride": 1, "wings": 2}]}, "wings"),
        ({"stem": {"channels": 8, "activation": "gelu"}}, "gelu"),
        ({"padding": "none"}, "none"),
    ],
)
def test_a_space_that_is_not_one_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Template.from_dict(preset("lite0").to_dict() | change, "space.yaml")


def test_no_mapping_is_no_space() -> None:
    with pytest.raises(ConfigError, match="a space is a mapping"):
        Template.from_dict([1, 2], "space.yaml")


def test_contradictory_spaces_are_refused(tiny_template: Template) -> None:
    with pytest.raises(SpaceError, match="resolutions: must be positive and ascending"):
        replace(tiny_template, resolutions=(64, 32))
    with pytest.raises(SpaceError, match="resolutions are at most 4096 px, not 100000"):
        replace(tiny_template, resolutions=(64, 100_000))
    with pytest.raises(SpaceError, match="kernels must be odd"):
        replace(tiny_template, stages=(replace(tiny_template.stages[0], kernels=(2,)),))
    with pytest.raises(SpaceError, match="the first block is fixed"):
        replace(tiny_template, first=tiny_template.stages[0])


@pytest.mark.parametrize(("value", "rounded"), [(3, 8), (12, 16), (18, 24), (90, 88), (100, 104)])
def test_channels_are_rounded_to_eights_losing_at_most_a_tenth(value: float, rounded: int) -> None:
    assert make_divisible(value) == rounded


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [(224, 3, 2, (0, 1)), (7, 3, 2, (1, 1)), (8, 5, 1, (2, 2)), (8, 5, 2, (1, 2))],
)
def test_same_padding_is_tensorflows(size: int, kernel: int, stride: int, padding: tuple[int, int]) -> None:
    assert same_padding(size, kernel, stride) == padding


@pytest.mark.parametrize(("column", "text"), [("kind", "magic"), ("height", "0"), ("se", "yes"), ("kernel", "")])
def test_a_row_that_is_no_block_names_the_column(column: str, text: str) -> None:
    row = BlockSpec(Kind.POOLING, 7, 7, 8, 8, 8).to_row() | {column: text}
    with pytest.raises(FormatError, match=f"column '{column}'"):
        BlockSpec.from_row(row)


@pytest.mark.parametrize(("where", "wrong", "near"), [((), "paddin", "padding"), (("stages", 1), "kernals", "kernels")])
def test_an_unknown_key_in_a_space_file_is_told_with_line_and_near_name(
    tiny_template: Template, tmp_path: Path, where: tuple[str | int, ...], wrong: str, near: str
) -> None:
    data = tiny_template.to_dict()
    part = data
    for key in where:
        part = part[key]
    part[wrong] = 3
    path = tmp_path / "space.yaml"
    write_yaml(path, data)
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if f"{wrong}:" in text)
    with pytest.raises(ConfigError, match=rf"space\.yaml:{line}: unknown key '{wrong}'; did you mean '{near}'"):
        SearchSpace.named(str(path))


def test_the_mcu_space_reaches_from_the_smallest_chips_to_those_with_512_kb() -> None:
    space = SearchSpace.named("mcu")
    terms = space.terms(10, Precision.INT8)
    costs = TermCosts.of(terms, len(space.genes), lambda block: block.activation_bytes, max)
    least, most = costs.max(np.stack([space.smallest(), space.largest()])) / 1024
    assert least < 32
    assert 256 < most < 512
