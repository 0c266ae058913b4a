"""Microcontrollers: memory as a bound that nobody has to ask for, and the parts that a network takes of it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas_edge.errors import BudgetError, ConfigError, ExportError, SpaceError, UnknownNameError
from nas_edge.memory import layers_of, plan_memory
from nas_edge.pipeline.bundle import load_bundle, predictor_file
from nas_edge.pipeline.devices.microcontrollers import board_of, firmware_of, memory_limits
from nas_edge.pipeline.devices.targets import load_target
from nas_edge.pipeline.exporting.c import Chip
from nas_edge.pipeline.exporting.flow import export_flow
from nas_edge.pipeline.exporting.report import ExportReport
from nas_edge.pipeline.searching.flow import search_flow
from nas_edge.pipeline.searching.report import SearchReport
from nas_edge.pipeline.searching.request import SearchRequest
from nas_edge.pipeline.searching.task import prepare
from nas_edge.spaces import Padding, SearchSpace, Stage, Stem, Tail, Template

CHIP = """format: 1
description: a chip for tests
runtime: mcu
board: stm32f405
precision: int8
"""
CLASSES = ("apple", "brick", "cloud")
SMALL = Template(
    name="small",
    stem=Stem(8),
    first=Stage(8, 1),
    stages=(Stage(12, 2, (1, 2), (3, 5), (3, 4)), Stage(16, 2, (1, 2), (3,), (3, 6))),
    tail=Tail(32),
    resolutions=(32, 48),
    widths=(0.5, 1.0),
    padding=Padding.SAME,
)


@pytest.fixture(scope="session")
def chip_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a bundle of a space that int8 kernels compute."""
    from tests.bundles import make_bundle, make_images  # late: torch

    root = tmp_path_factory.mktemp("chips")
    bundle = make_bundle(root / "bundles" / "small", SMALL, str(make_images(root / "images")))
    predictor = load_bundle(str(bundle)).accuracy_predictor()
    replace(predictor, precision="int8").write(bundle / predictor_file("int8"))
    return root


@pytest.fixture
def chip(chip_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh current directory with the target "chip"."""
    monkeypatch.setenv("NAS_EDGE_HOME", str(chip_home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "chip.yaml").write_text(CHIP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def find(**options: object) -> SearchReport:
    given = {"target": "chip", "bundle": "small", "evaluations": 2000, "verify": False, **options}
    report = search_flow(SearchRequest(**given))  # type: ignore[arg-type]
    assert isinstance(report, SearchReport)
    return report


def limited(chip: Path, text: str) -> None:
    (chip / "targets" / "chip.yaml").write_text(f"{CHIP}{text}\n")


def test_the_chips_memory_bounds_a_search_that_names_no_budget(chip: Path) -> None:
    limited(chip, "limits: {sram: 20KB, flash: 64KB}")
    report = find()
    assert report.memory is not None
    assert 15 * 1024 < report.memory.sram_bytes <= 20 * 1024
    assert report.memory.flash_bytes <= 64 * 1024
    everything = SearchSpace(SMALL).enumerate()
    task = prepare(SearchRequest(target="chip", bundle="small", verify=False))
    metrics = task.metrics()
    fits = np.all([c.excess(metrics[c.metric](everything)) <= 0 for c in task.constraints()], axis=0)
    assert report.accuracy.predicted == pytest.approx(metrics["accuracy"](everything[fits]).max())
    assert not fits.all()


def test_the_report_says_arena_stack_and_flash_and_the_layer_that_needs_most(chip: Path) -> None:
    report = find(sram_bytes=20 * 1024)
    memory = report.memory
    assert memory is not None
    space = SearchSpace(SMALL)
    plan = plan_memory(layers_of(space.lower(space.from_json(report.arch), 3)))
    assert memory.arena_bytes == plan.arena_bytes
    text = "\n".join(report.lines())
    for part in ("arena", "stack up to", "parameters", "code up to", plan.describe_peak()):
        assert part in text
    assert report.to_json()["memory"]["sram_bytes"] == memory.sram_bytes


def test_limits_come_from_the_file_then_its_regions_then_the_board(chip: Path) -> None:
    assert memory_limits(load_target("chip")) == {"sram": 128 * 1024, "flash": 1024 * 1024}
    limited(chip, "memory: {sram: 112KB, ccm: 64KB, flash: 1MB}")
    assert memory_limits(load_target("chip")) == {"sram": 112 * 1024, "flash": 1024 * 1024}
    limited(chip, "memory: {sram: 112KB}\nlimits: {sram: 96KB, flash: 512KB}")
    assert memory_limits(load_target("chip")) == {"sram": 96 * 1024, "flash": 512 * 1024}
    assert memory_limits(load_target("local")) == {}
    assert firmware_of(load_target("local")) is None


def test_a_budget_beyond_the_chip_is_bounded_by_the_chip(chip: Path) -> None:
    task = prepare(SearchRequest(target="chip", bundle="small", verify=False, sram_bytes=2**20, flash_bytes=2**16))
    limits = {constraint.metric: constraint.limit for constraint in task.constraints()}
    assert limits == {"sram": 128 * 1024, "flash": 2**16}


def test_memory_that_nobody_asked_about_is_not_called_slack(chip: Path) -> None:
    assert not any("slack" in note for note in find().notes)
    assert any("sram <= 128KB is slack" in note for note in find(sram_bytes=128 * 1024).notes)


def test_memory_that_no_network_fits_into_is_told_with_the_least_there_is(chip: Path) -> None:
    limited(chip, "limits: {sram: 2KB}")
    with pytest.raises(BudgetError, match="sram <= 2KB cannot be met: the least"):
        find()


def test_a_chip_runs_int8_alone(chip: Path) -> None:
    with pytest.raises((SpaceError, ConfigError), match="int8"):
        find(precision=("fp32",))


def test_a_board_that_nobody_described_is_told_with_near_names(chip: Path) -> None:
    (chip / "targets" / "chip.yaml").write_text(CHIP.replace("stm32f405", "stm32f406"))
    with pytest.raises(UnknownNameError, match=r"did you mean .*stm32f405"):
        board_of(load_target("chip"))


def exported(chip: Path, **options: object) -> tuple[SearchReport, ExportReport]:
    report = find(sram_bytes=20 * 1024, **options)
    return report, export_flow(report.run, "c")


def test_a_network_is_exported_as_c_that_classifies_without_nas_edge(chip: Path, chip_home: Path) -> None:
    report, export = exported(chip)
    assert export.precision == "int8"
    assert export.model.name == "net.c"
    assert export.quantisation is not None
    assert export.quantisation.runtime == "generated C on this machine"
    folder = export.directory
    names = {"net.c", "net.h", "weights.c", "image.c", "Makefile", "CMakeLists.txt", "README.md", "labels.txt"}
    names |= {"preprocess.json", "model_card.md", "example.py", "model.onnx", "profile"}
    assert names <= {path.name for path in folder.iterdir()}
    assert report.memory is not None
    assert f"#define NET_ARENA_BYTES {report.memory.arena_bytes}\n" in (folder / "net.h").read_text()
    assert f"{report.memory.sram_bytes:,} bytes" in (folder / "model_card.md").read_text()
    image = next((chip_home / "images" / "test" / "brick").glob("*.png"))
    done = subprocess.run(
        [sys.executable, folder / "example.py", image], capture_output=True, text=True, check=False, cwd=chip
    )
    assert done.returncode == 0, done.stderr
    label = done.stdout.rpartition(": ")[2].split()[0]
    assert label == _by_onnx(folder / "model.onnx", image, report.resolution)


def _by_onnx(model: Path, image: Path, side: int) -> str:
    import onnxruntime
    from PIL import Image

    with Image.open(image) as opened:
        pixels = np.asarray(opened.convert("RGB").resize((side, side), Image.Resampling.BILINEAR), np.float32)
    batch = ((pixels - 127.5) / 127.5).transpose(2, 0, 1)[None]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return CLASSES[int(session.run(None, {"image": batch})[0][0].argmax())]


def test_a_network_that_does_not_fit_is_told_by_how_many_bytes_and_for_which_layer(chip: Path) -> None:
    report, _ = exported(chip)
    assert report.memory is not None
    limited(chip, f"limits: {{sram: {report.memory.sram_bytes - 1000}B}}")
    with pytest.raises(ExportError, match=r"1,000 bytes more than the .* of chip: layer b\d\d\.\w+ \("):
        export_flow(report.run, "c")
    limited(chip, f"limits: {{flash: {report.memory.flash_bytes - 500}B}}")
    with pytest.raises(ExportError, match=r"500 bytes more than the .* of chip; most is taken by layer b"):
        export_flow(report.run, "c")


def test_another_region_may_hold_the_arena(chip: Path) -> None:
    report = find(sram_bytes=20 * 1024)
    assert report.memory is not None
    arena = report.memory.arena_bytes
    limited(chip, f"memory: {{sram: {arena}B, dtcm: {arena}B, flash: 1MB}}")
    found = Chip.of("chip")
    assert found is not None
    assert found.homes(arena, 3) == ("dtcm",)
    found.refuse_too_large(SearchSpace(SMALL).lower(SearchSpace(SMALL).from_json(report.arch), 3))


def test_c_is_exported_in_int8_alone(chip: Path) -> None:
    report = find(sram_bytes=20 * 1024)
    with pytest.raises(ExportError, match="c is exported as int8, not 'fp32'"):
        export_flow(report.run, "c", "fp32")
