"""A search for a microcontroller: instructions, SRAM and flash are budgets; what is chosen is counted as deployed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas_edge.cli.main import invoke
from nas_edge.errors import BudgetError
from nas_edge.pipeline.searching.flow import search_flow
from nas_edge.pipeline.searching.report import SearchReport
from nas_edge.pipeline.searching.request import SearchRequest
from tests.emulated import needs_emulator


def request(out: Path, **wishes: object) -> SearchRequest:
    return SearchRequest(target="stm32f405", evaluations=4000, out=out, **wishes)  # type: ignore[arg-type]


def test_without_the_emulator_the_networks_instructions_and_milliseconds_are_predicted(tmp_path: Path) -> None:
    report = search_flow(request(tmp_path / "run", latency_ms=200.0, instructions=8e6, verify=False))
    assert isinstance(report, SearchReport)
    assert report.others["instructions"] <= 8e6
    assert report.latency.high <= 200.0
    assert report.latency.origin == "modelled"
    assert report.counted == ()
    assert report.lines()[0].startswith("UNVERIFIED")
    assert report.memory is not None
    assert report.memory.sram_bytes <= 128 * 1024


def test_the_chips_own_memory_is_a_limit_that_nobody_has_to_ask_for(tmp_path: Path) -> None:
    report = search_flow(request(tmp_path / "run", verify=False))
    assert isinstance(report, SearchReport)
    assert report.memory is not None
    assert report.memory.sram_bytes <= 128 * 1024
    assert report.memory.flash_bytes <= 1024 * 1024


def test_a_budget_of_instructions_that_nothing_meets_is_told_with_the_least(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="instructions"):
        search_flow(request(tmp_path / "run", instructions=1000.0, verify=False))


def test_a_neural_accelerator_is_not_to_be_reached_but_its_compiler_is(tmp_path: Path) -> None:
    report = search_flow(SearchRequest(target="ethos-u55-128", latency_ms=20, evaluations=300, out=tmp_path / "run"))
    assert report.lines()[0].endswith(f"to verify: nas-edge profile {tmp_path / 'run'}")


@pytest.mark.slow
class TestCounted:
    pytestmark = needs_emulator

    def test_what_is_chosen_is_counted_and_profiled(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run = tmp_path / "run"
        words = ["search", "--target", "stm32f405", "--instructions", "4M", "--sram", "64KB", "--evaluations", "4000"]
        assert invoke([*words, "--out", str(run), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        counted = found["counted"]["stm32f405"]
        assert counted["instructions"] <= 4e6
        assert counted["sram_bytes"] <= 64 * 1024
        assert counted["met"] is True
        assert counted["silicon_measured"] is False
        assert counted["origin"] == "measured-emulated"
        assert found["accuracy"]["measured"] is not None
        assert found["verified"] is True
        assert found["latency_ms"]["measured"] is None
        assert invoke(["profile", str(run), "--json"]) == 0
        profiled = json.loads(capsys.readouterr().out)
        assert profiled["instructions"]["predicted"] is not None
        assert profiled["outputs"]["bit_identical_to_reference"] is True
        assert (run / "profile.json").is_file()
