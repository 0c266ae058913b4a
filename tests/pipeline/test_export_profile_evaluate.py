"""What is done with a run: export, profile, evaluate."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from nas_edge.errors import ConfigError, ExportError, FormatError, UnknownNameError
from nas_edge.latency import read_table
from nas_edge.pipeline.bundle import load_bundle
from nas_edge.pipeline.devices.targets import load_target
from nas_edge.pipeline.evaluate_flow import evaluate_flow
from nas_edge.pipeline.exporting.flow import ExportWishes, export_flow, exported_model
from nas_edge.pipeline.profiling.timed import profile_flow
from nas_edge.pipeline.running.directory import load_run
from nas_edge.pipeline.searching.flow import search_flow
from nas_edge.pipeline.searching.request import SearchRequest
from nas_edge.pipeline.tables.finding import load_table_for
from nas_edge.pipeline.tables.keeping import kept_path
from nas_edge.runtimes.model_precision import model_precision
from tests.stand import FakeBench


@pytest.fixture
def run(stand: Path) -> Path:
    return search_flow(SearchRequest(target="board", bundle="tiny", latency_ms=2.0, evaluations=1000)).run


def test_an_exported_network_agrees_with_torch_on_every_image(run: Path) -> None:
    report = export_flow(run)
    assert report.parity.images == 48
    assert report.parity.top1_agreement == 1.0
    assert report.parity.max_abs_difference < 1e-4
    assert {p.name for p in report.directory.iterdir()} >= {"model.onnx", "labels.txt", "preprocess.json", "example.py"}
    assert exported_model(run, "fp32") == report.model
    json.dumps(report.to_json(), allow_nan=False)
    assert (run / "onnx-fp32" / "labels.txt").read_text().split() == ["apple", "brick", "cloud"]


def test_a_bundle_exports_without_the_images_it_was_trained_on(run: Path, stand_template: Path) -> None:
    copy = run.parent / "alone"
    shutil.copytree(stand_template / "bundles" / "tiny", copy)
    header = (copy / "bundle.yaml").read_text().replace(str(stand_template / "images"), str(run.parent / "gone"))
    (copy / "bundle.yaml").write_text(header)
    result = json.loads((run / "result.json").read_text()) | {"bundle": str(copy)}
    (run / "result.json").write_text(json.dumps(result))
    parity = export_flow(run).parity
    assert parity.images > 0
    assert parity.top1_agreement == 1.0


def test_formats_that_there_are_not_and_precisions_that_a_format_has_not_are_refused(run: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown export format 'onix'; did you mean onnx"):
        export_flow(run, "onix")
    with pytest.raises(ExportError, match="fp32 or int8, not 'fp16'"):
        export_flow(run, precision="fp16")
    assert not (run / "onnx-fp16").exists()


def test_an_int8_file_is_proved_against_the_float_one_in_pairs(run: Path) -> None:
    report = export_flow(run, precision="int8")
    found = report.quantisation
    assert found is not None
    assert (found.images, found.labelled) == (48, 24)
    assert found.calibration_images == 48
    assert found.agreement > 0.6
    assert found.interval is not None
    assert found.interval[0] <= found.after - found.before <= found.interval[1]
    assert model_precision(report.model.read_bytes()) == "int8"
    assert exported_model(run, "int8") == report.model
    assert exported_model(run, "fp32") is None
    assert any(line.startswith("quantised ") for line in report.lines())
    json.dumps(report.to_json(), allow_nan=False)
    card = (report.directory / "model_card.md").read_text()
    assert "int8 against float32 on 48 images" in card
    assert "| latency | not known | searched in fp32" in card


def test_layers_that_suffer_most_are_kept_in_float_and_told(run: Path) -> None:
    plain = export_flow(run, precision="int8")
    report = export_flow(run, precision="int8", wishes=ExportWishes(keep_float=2))
    assert plain.sensitive == ()
    assert report.quantisation is not None
    kept = report.quantisation.kept_float
    assert kept == tuple(layer.name for layer in report.sensitive[:2])
    noises = [layer.noise for layer in report.sensitive]
    assert noises == sorted(noises, reverse=True)
    weights = {item.name: item.data_type for item in onnx.load(report.model).graph.initializer}
    assert weights[f"{kept[0]}.weight"] == onnx.TensorProto.FLOAT
    assert f"{report.sensitive[-1].name}.weight" not in weights
    assert (report.directory / "sensitivity.csv").read_text().count("\n") == len(report.sensitive) + 1
    assert any(line.startswith("in float ") for line in report.lines())
    assert f"Kept in float32: `{kept[0]}`" in (report.directory / "model_card.md").read_text()
    with pytest.raises(ConfigError, match="are about int8: add --precision int8"):
        export_flow(run, precision="fp32", wishes=ExportWishes(keep_float=2))


def test_int8_is_calibrated_on_images_of_ones_own(run: Path) -> None:
    own = load_bundle("tiny").header["data"]["spec"]
    report = export_flow(run, precision="int8", wishes=ExportWishes(calibration=own))
    assert report.quantisation is not None
    assert report.quantisation.calibration_images == 48


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_tflite_file_is_proved_through_litert_and_its_example_runs(run: Path, precision: str) -> None:
    pytest.importorskip("ai_edge_litert")
    report = export_flow(run, "tflite", precision)
    assert report.model.name == "model.tflite"
    found = report.parity if precision == "fp32" else report.quantisation
    assert found is not None
    assert found.runtime.startswith("litert ")
    picture = next((Path(load_bundle("tiny").header["data"]["spec"])).rglob("*.png"))
    done = subprocess.run(
        [sys.executable, report.directory / "example.py", picture], capture_output=True, text=True, check=True
    )
    assert any(name in done.stdout for name in ("apple", "brick", "cloud"))


def test_the_example_of_an_int8_folder_classifies_a_picture(run: Path) -> None:
    folder = export_flow(run, precision="int8").directory
    picture = next((Path(load_bundle("tiny").header["data"]["spec"])).rglob("*.png"))
    done = subprocess.run(
        [sys.executable, str(folder / "example.py"), str(picture)], capture_output=True, text=True, check=True
    )
    assert any(name in done.stdout for name in ("apple", "brick", "cloud"))


def test_a_profile_stands_beside_the_prediction_and_is_kept(run: Path, bench: FakeBench) -> None:
    report = profile_flow(run)
    assert report.predicted is not None
    assert report.error_percent is not None
    assert report.lines()[0].startswith("MEASURED")
    assert report.lines()[1].startswith("predicted")
    assert "seeded weights" in report.artefact
    kept = json.loads((run / "profile.json").read_text())
    assert kept["latency_ms"]["median"] == report.measurement.median_ms
    assert len(kept["measurement"]["visits"]) == len(report.measurement.visits)


def test_what_a_profile_measures_improves_the_device_s_predictions_from_then_on(run: Path, bench: FakeBench) -> None:
    measured = profile_flow(run).measurement
    table = load_table_for(load_target("board")).table
    kept = read_table(kept_path(table.header, measured.origin.machine))
    space, arch = load_bundle("tiny").space, dict(load_run(run).arch)
    assert space.to_json(space.from_json(arch)) in [dict(network.arch) for network in kept.networks]


def test_a_median_s_prediction_is_not_held_against_another_statistic(run: Path, bench: FakeBench) -> None:
    report = profile_flow(run, statistic="p99")
    assert report.predicted is None
    assert report.lines()[1].startswith("p99 ")
    assert report.to_json()["error_percent"] is None


def test_an_exported_file_is_what_is_profiled(run: Path, bench: FakeBench) -> None:
    exported = export_flow(run)
    assert "exported file" in profile_flow(run).artefact
    alone = profile_flow(exported.model, "board")
    assert alone.predicted is None
    assert not any(line.startswith("predicted") for line in alone.lines())


def test_layers_are_told_or_it_is_said_before_measuring_that_they_are_not(run: Path) -> None:
    model = export_flow(run).model
    report = profile_flow(model, "local", effort="quick", per_layer=True)
    assert {layer.kind for layer in report.layers} >= {"Conv"}
    assert any(line.startswith("layers ") for line in report.lines())
    json.dumps(report.to_json(), allow_nan=False)
    pytest.importorskip("ai_edge_litert")
    with pytest.raises(ConfigError, match="runtime 'litert' tells no times of layers there"):
        profile_flow(model, "local", runtime="litert", per_layer=True)


def test_what_is_neither_a_run_nor_a_model_is_told(stand: Path, bench: FakeBench) -> None:
    Path("notes.txt").write_text("no model")
    with pytest.raises(ConfigError, match=r"neither the directory of a run nor an ONNX or \.tflite file"):
        profile_flow(Path("notes.txt"))
    with pytest.raises(ConfigError, match="is not the directory of a search"):
        export_flow(Path("nowhere"))


def test_a_damaged_run_is_told_with_its_file(run: Path) -> None:
    (run / "result.json").write_text('{"format": 1, "target":')
    with pytest.raises(FormatError, match=r"result\.json:1: .*truncated"):
        export_flow(run)


def test_a_run_of_a_newer_version_is_refused(run: Path) -> None:
    data = json.loads((run / "result.json").read_text()) | {"format": 99}
    (run / "result.json").write_text(json.dumps(data))
    with pytest.raises(FormatError, match="a newer file needs a newer nas-edge"):
        evaluate_flow(str(run))


def test_accuracy_is_measured_on_the_search_split_with_its_interval(run: Path) -> None:
    report = evaluate_flow(str(run))
    assert (report.split, report.images) == ("search", 24)
    assert report.interval[0] <= report.accuracy <= report.interval[1]


def test_accuracy_is_measured_in_half_precision(run: Path) -> None:
    report = evaluate_flow(str(run), precision="fp16")
    assert report.precision == "fp16"
    assert report.accuracy == pytest.approx(evaluate_flow(str(run)).accuracy, abs=0.05)


def test_architectures_of_a_bundle_are_evaluated_by_name_or_file(run: Path) -> None:
    smallest, largest = (evaluate_flow("tiny", arch) for arch in ("smallest", "largest"))
    assert smallest.macs < largest.macs
    assert evaluate_flow("tiny", str(run / "arch.json")).arch == evaluate_flow(str(run)).arch
    with pytest.raises(ConfigError, match="--arch goes with a bundle"):
        evaluate_flow(str(run), "largest")
    with pytest.raises(UnknownNameError, match="split"):
        evaluate_flow(str(run), split="train")


@pytest.mark.parametrize("name", ["supernet.safetensors", "calibration.zip", "bundle.yaml", "space.yaml"])
def test_a_damaged_bundle_is_told_with_its_file_and_nothing_is_exported(
    run: Path, stand_template: Path, name: str
) -> None:
    copy = run.parent / "damaged"
    shutil.copytree(stand_template / "bundles" / "tiny", copy)
    whole = (copy / name).read_bytes()
    (copy / name).write_bytes(whole[: len(whole) // 2])
    result = json.loads((run / "result.json").read_text()) | {"bundle": str(copy)}
    (run / "result.json").write_text(json.dumps(result))
    with pytest.raises((FormatError, ConfigError), match=name.replace(".", r"\.")):
        export_flow(run)
    assert not (run / "onnx-fp32" / "model.onnx").exists()


def test_a_damaged_predictor_stops_the_search(stand: Path, stand_template: Path) -> None:
    shutil.copytree(stand_template / "bundles" / "tiny", "damaged")
    path = Path("damaged/accuracy_predictor.npz")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FormatError, match=r"accuracy_predictor\.npz"):
        search_flow(SearchRequest(target="board", bundle="damaged", latency_ms=2.0))
