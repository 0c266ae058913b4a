"""Import, diff and merge as commands: what they say, what they refuse, and that nothing is half-written."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas_edge import resources
from nas_edge.cli.main import invoke
from nas_edge.errors import ConfigError, TableError, UnknownNameError
from nas_edge.latency import LatencyTable, read_table, table_directory, write_table
from nas_edge.pipeline.devices.targets import load_target
from nas_edge.pipeline.tables.comparing import diff_command, merge_command
from nas_edge.pipeline.tables.finding import load_table_for
from nas_edge.pipeline.tables.importing import import_command, import_request
from nas_edge.pipeline.tables.showing import check_command, show_command
from nas_edge.spaces import SearchSpace
from tests.latency.toy import make_table

ROOT = Path(__file__).resolve().parents[3]
TARGETS = sorted(path.stem for path in (ROOT / "targets").glob("*.yaml") if path.stem != "local")
TABLED = sorted(path.name for path in (ROOT / "latency_tables").iterdir() if path.name in TARGETS)
CSV = """kind,height,width,in,out,kernel,stride,mid,se,activation,residual,ms
stem,32,32,3,16,3,2,,0,relu6,0,0.2
inverted_residual,16,16,16,24,3,2,64,0,relu6,0,0.35
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory without any tables but its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(resources, "roots", lambda: (tmp_path,))
    (tmp_path / "mine.csv").write_text(CSV)
    return tmp_path


def put(root: Path, table: LatencyTable) -> str:
    directory = table_directory(root, table.header)
    write_table(table, directory)
    return str(directory)


def spoken(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert invoke([*arguments, "--json"]) == 0
    out = capsys.readouterr().out
    data: dict[str, Any] = json.loads(out)
    return data


# Import --------------------------------------------------------------------------------------------------------


def test_an_imported_table_is_written_shown_and_checked(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["table", "import", "--format", "csv", "mine.csv", "--target", "my-board", "--runtime", "tflite"]
    arguments += ["--source", "me", "--licence", "CC0-1.0", "--device", "My board", "--device-class", "mobile-cpu"]
    data = spoken(capsys, *arguments)
    assert (data["table"], data["blocks"]) == ("latency_tables/my-board/tflite-fp32", 2)
    assert data["origin"] == {"kind": "published", "source": "me, My board"}
    header = read_table(here / data["table"]).header
    assert header.device == {"name": "My board", "class": "mobile-cpu"}
    assert header.sources[0].licence == "CC0-1.0"
    assert header.protocol["imported_by"] == f"nas-{' '.join(['edge', *arguments[:7]])} " + (
        "--source me --licence CC0-1.0 --device 'My board' --device-class mobile-cpu --runtime tflite"
    )
    assert spoken(capsys, "table", "show", "my-board/tflite-fp32")["sources"][0]["name"] == "me"
    with pytest.raises(ConfigError, match="is a table already; --overwrite replaces it"):
        import_command("csv", [here / "mine.csv"], import_request("my-board", runtime="tflite"))
    import_command("csv", [here / "mine.csv"], import_request("my-board", runtime="tflite"), overwrite=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("0.35", "nan"), "mine.csv:3: ms = nan is not a positive, finite figure"),
        (("0.35", "-1"), "mine.csv:3: ms = -1"),
        (("0.35", ""), "mine.csv:3: ms is missing"),
        (("0.35", "0.35us"), "mine.csv:3: ms = '0.35us' is not a number without a unit"),
        (("inverted_residual", "inverted_residual,1"), "mine.csv:3: 13 fields where 12 are expected"),
        (("0.35\n", "0.35\ninverted_residual,16,16,16,24,3,2,64,0,relu6,0,0.36\n"), "is the same block as line 3"),
        (("0.35\n", "0.3"), "is the file truncated"),
    ],
)
def test_a_bad_table_is_one_line_exit_2_and_nothing_is_written(
    here: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], message: str
) -> None:
    (here / "mine.csv").write_text(CSV.replace(*change))
    assert invoke(["table", "import", "--format", "csv", "mine.csv", "--target", "my-board"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (here / "latency_tables").exists()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"target": "../up"}, "--target '../up' names a directory"),
        ({"target": "x", "runtime": "a/b"}, "--runtime 'a/b' names a directory"),
        ({"target": "x", "device_class": "phone"}, "--device-class 'phone' is none of cpu"),
        ({"target": "x", "precision": "fp8"}, "--precision 'fp8' is none of fp32"),
        ({"target": "x", "options": ("gpu",)}, "--option 'gpu': write it like NAME=VALUE"),
        ({"target": "x", "space": "ofa-mbv3"}, "did you mean ofa-mbv3"),
    ],
)
def test_what_is_said_about_a_table_is_checked(request_: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        import_request(**request_)


def test_an_option_that_a_format_has_not_is_refused(here: Path) -> None:
    for name, has in (("csv", "only statistic"), ("ncnn", "only device, gpu"), ("ofa", "none")):
        with pytest.raises(ConfigError, match=f"--option frob: --format {name} has {has}"):
            import_command(name, [here / "mine.csv"], import_request("x", options=["frob=1"]))
    assert not (here / "latency_tables").exists()


def test_figures_that_are_another_target_s_are_told_at_once(here: Path) -> None:
    figures = CSV.replace("0.2\n", "0.204513\n").replace("0.35\n", "0.351237\n")
    (here / "mine.csv").write_text(figures)
    import_command("csv", [here / "mine.csv"], import_request("first"))
    report = import_command("csv", [here / "mine.csv"], import_request("second"))
    assert any(line.startswith("WARNING    2 entries") for line in report.lines())
    checked = check_command("second/unstated-fp32", None, None, None)
    assert checked.exit_code == 1
    assert "every digit is first/unstated-fp32's" in checked.data["contaminated"][0]


def test_an_imported_table_is_found_by_its_target_s_name(here: Path) -> None:
    def imported(target: str, runtime: str) -> str:
        request = import_request(target, source="me", runtime=runtime, device_class="mobile-cpu")
        return "\n".join(import_command("csv", [here / "mine.csv"], request).lines())

    assert "nas-edge search --target my-board" in imported("my-board", "tflite")
    target = load_target("my-board")
    assert (target.table, target.runtime, target.reachable) == ("my-board/tflite-fp32", "litert", False)
    found = load_table_for(target)
    assert found.own
    assert len(found.table.blocks) == 2
    assert "write 'table: my-board/unstated-fp32' in its file" in imported("my-board", "unstated")
    assert load_target("my-board") == target


# Show ----------------------------------------------------------------------------------------------------------


def test_coverage_is_of_the_space_asked_for_else_the_table_s_else_the_one_covered_best(here: Path) -> None:
    space = SearchSpace.named("mcu")
    name = put(here / "latency_tables", make_table(space.restrict([32, 48]), 10, calibration=0))
    own = show_command(name, None)
    assert (own.data["space"], own.data["num_classes"]) == ("mcu", 10)
    assert 0.1 < own.data["coverage"] < 1
    assert own.data["missing_blocks"]
    assert any(line.startswith("coverage") and "% of the" in line for line in own.lines())
    assert f"missing    and {len(own.data['missing_blocks']) - 5} more (--json lists all)" in own.lines()
    assert show_command(name, None, "lite0", 6).data["coverage"] < 0.1
    table = read_table(Path(name))
    bare = put(here / "bare", replace(table, header=replace(table.header, space={})))
    assert show_command(bare, None).data["space"] == "mcu"


def test_spaces_are_shown_in_words_with_the_error_of_the_one_asked_about(here: Path) -> None:
    table = make_table(SearchSpace.named("mcu").restrict([32, 48]), 10)
    about = {"name": "mcu", "num_classes": 10, "resolutions": [32, 48], "also": [{"name": "lite0", "num_classes": 6}]}
    errors = {name: {"mape_percent": error, "spearman": 1.0} for name, error in (("mcu", 1.0), ("lite0", 2.0))}
    figures = {"holdout": errors["mcu"], "holdout_by_space": errors}
    name = put(here / "tables", replace(table, header=replace(table.header, space=about, figures=figures)))
    lines = show_command(name, None).lines()
    assert "space      mcu (10 classes, 32 to 48 pixels), lite0 (6 classes)" in lines
    assert any(line.startswith("hold-out   error 1.0 %") for line in lines)
    lines = show_command(name, None, "lite0", 6).lines()
    assert any(line.startswith("hold-out   error 2.0 %") for line in lines)


# Diff and merge ------------------------------------------------------------------------------------------------


@pytest.fixture
def sittings(here: Path) -> tuple[str, str]:
    space = SearchSpace.named("mcu").restrict([32, 48], w=[0.5, 1.0])
    table = make_table(space, 10)
    later = replace(
        make_table(space, 10, seed=1),
        header=replace(table.header, origin=replace(table.header.origin, date="2026-02-02")),
        networks=tuple(replace(n, name=f"late-{n.name}") for n in make_table(space, 10, seed=5).networks),
    )
    slow = {block: replace(entry, ms=1.1 * entry.ms) for block, entry in later.blocks.items()}
    return put(here / "one", table), put(here / "two", replace(later, blocks=slow))


def test_two_tables_are_compared_in_words_and_as_json(
    sittings: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    data = spoken(capsys, "table", "diff", *sittings)
    assert data["blocks"]["ratio_median"] == pytest.approx(1.1, abs=0.01)
    assert data["header"]["origin.date"] == {"a": "2026-01-01", "b": "2026-02-02"}
    lines = diff_command(*sittings).lines()
    assert any(re.match(r"B / A      median 1\.(09|10|11)", line) for line in lines)
    assert diff_command(sittings[0], sittings[0]).lines()[-1] == "the same table twice"
    with pytest.raises(UnknownNameError, match="unknown table 'nowhere'"):
        diff_command(sittings[0], "nowhere")


def test_two_sittings_become_one_table_with_its_own_hold_out_error(
    sittings: tuple[str, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = spoken(capsys, "table", "merge", *sittings, "--out", "merged")
    assert data["drift_percent"] == pytest.approx(10, abs=1)
    merged = read_table(here / "merged" / "toy-board" / "toy-fp32")
    assert len(merged.networks) == 38  # both sittings took the smallest and the largest
    assert data["figures"]["holdout"]["networks"] == len(merged.holdout_networks()) == 16
    assert merged.header.figures["holdout"]["mape_percent"] < 10
    with pytest.raises(ConfigError, match="is a table already"):
        merge_command(*sittings, here / "merged", 10.0)
    with pytest.raises(ConfigError, match="is given twice"):
        merge_command(sittings[0], sittings[0], None, 10.0)
    with pytest.raises(ConfigError, match="--conflict must be"):
        merge_command(*sittings, None, -1.0)


def test_sittings_of_two_devices_are_refused_and_nothing_is_written(sittings: tuple[str, str], here: Path) -> None:
    table = read_table(Path(sittings[1]))
    other = put(here / "other", replace(table, header=replace(table.header, device={"vendor": "another"})))
    with pytest.raises(TableError, match=r"device\.vendor is 'toy' and 'another'"):
        merge_command(sittings[0], other, here / "merged", 10.0)
    assert not (here / "merged").exists()


# Without the published tables ----------------------------------------------------------------------------------


def bundle_for(target: str) -> str:
    """Microcontrollers run int8 alone: a bundle of which that was measured."""
    found = load_target(target)
    return "trashnet-mcu" if found.precision == "int8" else "tiny"


@pytest.mark.parametrize("target", TARGETS)
def test_without_its_published_table_every_command_still_answers(
    target: str, stand: Path, stand_template: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after deleting `latency_tables/<target>`, which a missing licence may make somebody do."""
    bundle = bundle_for(target)
    shutil.copytree(ROOT / "targets", stand / "targets")
    monkeypatch.setattr(resources, "roots", lambda: (stand, stand_template))
    found = spoken(capsys, "search", "--target", target, "--bundle", bundle, "--latency", "500ms", "--no-verify",
                   "--evaluations", "300", "--out", "run")  # fmt: skip
    assert found["latency_ms"]["predicted"] <= 500
    shown = spoken(capsys, "table", "show", "--target", target)
    assert shown["origin"]["kind"] == "modelled"
    assert invoke(["table", "check", "--target", target, "--json"]) == 1
    assert "no table of" in json.loads(capsys.readouterr().out)["problems"][0]
    assert spoken(capsys, "table", "predict", "--target", target, "--bundle", bundle, "--arch", "run/arch.json")
    assert spoken(capsys, "targets", "show", target)["name"] == target


@pytest.mark.parametrize("target", TABLED)
def test_with_it_every_command_answers_as_well(target: str, stand: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = bundle_for(target)
    found = spoken(capsys, "search", "--target", target, "--bundle", bundle, "--latency", "500ms", "--no-verify",
                   "--evaluations", "300", "--out", "run")  # fmt: skip
    assert found["latency_ms"]["predicted"] <= 500
    shown = spoken(capsys, "table", "show", "--target", target)
    published = shown["blocks"] and shown["runtime"] != "mcu"
    assert shown["origin"]["kind"] == ("published" if published else "modelled")
    assert invoke(["table", "check", "--target", target]) == 0
    assert capsys.readouterr().out.endswith("fit to be shared\n")
