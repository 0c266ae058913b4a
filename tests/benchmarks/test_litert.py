"""LiteRT: `.tflite` files against torch, int8 against float32, the time of an export, predicted against measured.

The README's figures: `pytest -m benchmark -s tests/benchmarks/test_litert.py`. Asked: float32 within 1e-4 and the same
answer for all 759 images; int8 at most one point worse on average over five subnets, none more than two; an export of
the largest subnet in less than two seconds; predicted against measured within 3 % on 20 networks.
"""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import numpy as np
import pytest

from nas_edge.errors import UnknownNameError

pytestmark = pytest.mark.benchmark

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
NETWORKS, SEED = 20, 2027


@cache
def ground() -> dict[str, Any]:
    """The shipped bundle, its photographs, and five subnets by their MACs."""
    pytest.importorskip("ai_edge_litert")
    from nas_edge.data import load_dataset
    from nas_edge.pipeline.bundle import load_bundle
    from nas_edge.pipeline.networks import bundle_evaluator, bundle_preprocess

    try:
        bundle = load_bundle("trashnet")
    except UnknownNameError as error:
        pytest.skip(str(error))
    space = bundle.space
    sampled = space.sample(2000, np.random.default_rng(SEED))
    rows = np.concatenate([space.smallest()[None], sampled, space.largest()[None]])
    macs = space.macs(rows, bundle.num_classes)
    order = np.argsort(macs)
    chosen = {share: rows[order[round(share * (len(rows) - 1))]] for share in QUANTILES}
    return {
        "bundle": bundle,
        "evaluator": bundle_evaluator(bundle),
        "preprocess": bundle_preprocess(bundle),
        "dataset": load_dataset("trashnet"),
        "chosen": chosen,
    }


@cache
def subnet(share: float) -> tuple[Any, bytes]:
    """One of the five, recalibrated, and its ONNX file."""
    from nas_edge.export.onnx_file import build_model

    found = ground()
    net = found["evaluator"].recalibrated(found["bundle"].supernet(), found["chosen"][share])
    return net, build_model(net)


class Loaded:
    """A model in a runtime of this machine, asked as `export.parity` does."""

    def __init__(self, runtime: str, model: bytes, precision: str) -> None:
        from nas_edge.runtimes import get_runtime

        engine = get_runtime(runtime)
        self._session = engine.prepare(model, precision, 2)
        self.runtime = f"{runtime} {engine.version()}"

    def logits(self, batch: np.ndarray) -> np.ndarray:
        return np.concatenate([self._session.run({"image": image[None]})["logits"] for image in batch])


def images_of(net) -> tuple[np.ndarray, np.ndarray]:
    found = ground()
    splits = (found["dataset"].search, found["dataset"].test)
    images = np.concatenate([split.images(found["preprocess"], net.resolution) for split in splits])
    return images, np.concatenate([np.asarray(split.labels) for split in splits])


def test_float_files_compute_what_torch_does() -> None:
    from nas_edge.export.parity import check_parity

    print("\nsubnet   side  images  largest difference  top-1 agreement")
    for share in QUANTILES:
        net, model = subnet(share)
        images, _ = images_of(net)
        report = check_parity(net, Loaded("litert", model, "fp32"), images, ground()["preprocess"])
        figures = f"{report.max_abs_difference:>18.1e}  {report.top1_agreement:>14.2%}"
        print(f"{share:>5.0%}   {net.resolution:>5}  {report.images:>6}  {figures}")
        assert report.images == 759
        assert report.passed
        assert report.top1_agreement == 1


def test_int8_files_lose_little_accuracy_and_agree_with_onnx_runtime() -> None:
    from nas_edge.data.calibration import read_calibration
    from nas_edge.export.quantise import compare_precisions, quantised_file
    from nas_edge.pipeline.bundle import CALIBRATION
    from nas_edge.runtimes.saturation import local_form

    found, losses = ground(), []
    calibration = read_calibration(found["bundle"].path / CALIBRATION)
    print("\nsubnet   side  before  after   points  95 % interval   same answer as fp32  as ONNX Runtime's int8")
    for share in QUANTILES:
        net, model = subnet(share)
        images, labels = images_of(net)
        calibrated_on = calibration.images(found["preprocess"], net.resolution)
        int8 = quantised_file(model, calibrated_on, found["preprocess"], local_form())
        file = Loaded("litert", int8, "int8")
        report = compare_precisions(
            model, file, images, found["preprocess"], labels, calibration_images=len(calibrated_on), on="TrashNet"
        )
        other = compare_precisions(
            int8, file, images, found["preprocess"], labels, calibration_images=len(calibrated_on), on="TrashNet"
        )
        low, high = report.interval
        losses.append(report.drop)
        accuracy = f"{report.before:6.1%}  {report.after:6.1%}  {-100 * report.drop:+5.2f}"
        print(
            f"{share:>5.0%}   {net.resolution:>5}  {accuracy}  "
            f"{100 * low:+5.2f} to {100 * high:+5.2f}  {report.agreement:>17.2%}  {other.agreement:>22.2%}"
        )
    print(f"mean loss {100 * np.mean(losses):+.2f} points, worst {100 * max(losses):+.2f}")
    assert np.mean(losses) <= 0.01
    assert max(losses) <= 0.02


def test_the_time_of_an_export() -> None:
    from nas_edge.export.onnx_file import build_model
    from nas_edge.runtimes.tflite import convert

    net, model = subnet(1.0)
    convert(model)  # imports are not counted
    begun = time.perf_counter()
    build_model(net)
    built = time.perf_counter()
    file = convert(model)
    ended = time.perf_counter()
    print(
        f"\nlargest subnet: ONNX {built - begun:.2f} s, .tflite from it {ended - built:.2f} s, together "
        f"{ended - begun:.2f} s ({len(file.data) / 2**20:.1f} MB)"
    )


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_predicted_against_measured(precision: str) -> None:
    """Networks that the table has not seen, in another process, another sitting."""
    from nas_edge.devices import LocalDevice
    from nas_edge.latency import LatencyPredictor
    from nas_edge.latency.check import spearman
    from nas_edge.pipeline.devices.bench import Bench
    from nas_edge.pipeline.devices.targets import load_target
    from nas_edge.pipeline.seeded import seeded_model
    from nas_edge.pipeline.tables.finding import load_table_for
    from nas_edge.profiling import Protocol
    from nas_edge.runtimes import get_runtime
    from nas_edge.spaces import SearchSpace

    pytest.importorskip("ai_edge_litert")
    target = load_target("local-litert").model_copy(update={"precision": precision})
    found = load_table_for(target)
    if found.path is None or not found.own:
        pytest.skip(f"no {precision} table of this CPU: nas-edge table measure --target local-litert")
    space, classes = SearchSpace.named("lite0"), 6
    rows = space.sample(NETWORKS, np.random.default_rng(SEED))
    models = {str(i): seeded_model(space, row, classes, SEED, precision) for i, row in enumerate(rows)}
    bench = Bench(target, LocalDevice(), get_runtime("litert"))
    measured = bench.measure(
        models, Protocol.default(), precision, reference_quiet_ms=bench.quiet_reference_ms(found.table.header)
    )
    ms = np.array([one.median_ms for one in measured.values()])
    predicted = LatencyPredictor.of(found.table, space, classes).predict(rows, 0.9)
    error = 100 * (predicted.point / ms - 1)
    print(
        f"\n{precision}: {len(rows)} networks, {ms.min():.3f} to {ms.max():.3f} ms, {found.table.header.describe()}\n"
        f"  MAPE {np.abs(error).mean():.2f} %  bias {error.mean():+.2f} %  worst {np.abs(error).max():.2f} %  "
        f"Spearman {spearman(predicted.point, ms):.4f}\n"
        f"  {next(iter(measured.values())).interference.describe()}"
    )
    assert np.isfinite(error).all()
