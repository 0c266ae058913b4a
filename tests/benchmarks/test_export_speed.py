"""How long writing a file takes, and what `profile` adds to what it measures: README, "figures". Imports excluded."""

from __future__ import annotations

import time

import pytest

from nas_edge.errors import UnknownNameError


@pytest.fixture(scope="module")
def largest():
    """The largest network of the embedded bundle, recalibrated."""
    from nas_edge.pipeline.bundle import load_bundle
    from nas_edge.pipeline.networks import subnet_of_bundle

    try:
        bundle = load_bundle("trashnet")
    except UnknownNameError as error:
        pytest.skip(str(error))
    return subnet_of_bundle(bundle, bundle.space.largest())


def seconds(work):
    """The quicker of two: the first one imports."""
    spans = []
    for _ in range(2):
        begun = time.perf_counter()
        work()
        spans.append(time.perf_counter() - begun)
    return min(spans)


@pytest.mark.benchmark
def test_files_are_written_in_seconds(largest, tmp_path):
    from nas_edge.export.onnx_file import export_onnx
    from nas_edge.pipeline.exporting.formats import export_format

    model = export_onnx(largest, tmp_path / "model.onnx")
    print("\nfile                    s    promised")
    print(f"ONNX                {seconds(lambda: export_onnx(largest, tmp_path / 'model.onnx')):5.2f}    4")
    print(f"ONNX for TensorRT   {seconds(lambda: export_format('tensorrt').artefact(model, 'fp16')):5.2f}    -")
    try:
        print(f".tflite             {seconds(lambda: export_format('tflite').artefact(model, 'fp32')):5.2f}    2")
    except ImportError:
        print(".tflite             ai-edge-litert is not installed")


@pytest.mark.benchmark
def test_a_profile_adds_little_to_what_it_measures(largest, tmp_path, monkeypatch):
    from nas_edge.export.onnx_file import export_onnx
    from nas_edge.pipeline.devices.bench import Bench
    from nas_edge.pipeline.profiling.timed import profile_flow

    export_onnx(largest, tmp_path / "model.onnx")
    inside, measure = [], Bench.measure

    def timed(self, *arguments, **options):
        begun = time.perf_counter()
        try:
            return measure(self, *arguments, **options)
        finally:
            inside.append(time.perf_counter() - begun)

    monkeypatch.setattr(Bench, "measure", timed)
    whole = []
    for _ in range(2):
        begun = time.perf_counter()
        report = profile_flow(tmp_path / "model.onnx", "local", effort="quick")
        whole.append(time.perf_counter() - begun)
    added = min(all_ - own for all_, own in zip(whole, inside, strict=True))
    visits = sum(sum(visit.samples_ms) for visit in report.measurement.visits) / 1e3
    print(
        f"\nprofile: {whole[-1]:.2f} s, of which {inside[-1]:.2f} s of measuring ({visits:.2f} s of timed runs); ",
        end="",
    )
    print(f"it adds {added:.2f} s (promised: 2)")
