"""What int8 costs in accuracy and gains in time, and what training for it gives back: README, "figures".

Accuracy on the search and test photographs of TrashNet together, as the promise is about both.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas_edge.errors import UnknownNameError

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
_DRAWN = 2000


@pytest.fixture(scope="module")
def bundle():
    from nas_edge.pipeline.bundle import load_bundle

    try:
        return load_bundle("trashnet")
    except UnknownNameError as error:
        pytest.skip(str(error))


def at_quantiles(space, classes):
    """Architectures at the quantiles of MACs: the smallest, the largest and random ones between."""
    drawn = space.sample(_DRAWN, np.random.default_rng(0))
    macs = space.macs(drawn, classes)
    low, high = (space.macs(row[None], classes)[0] for row in (space.smallest(), space.largest()))
    found = []
    for quantile in QUANTILES:
        if quantile in (0.0, 1.0):
            found.append(space.smallest() if quantile == 0 else space.largest())
        else:
            wanted = np.quantile(macs[(macs >= low) & (macs <= high)], quantile)
            found.append(drawn[np.abs(macs - wanted).argmin()])
    return found


def interleaved_ms(models, rounds=30, repeats=8):
    """Lowest tenth of each model's run times, taking turns: on a loaded machine that is what it takes undisturbed."""
    from nas_edge.runtimes.model_precision import model_precision
    from nas_edge.runtimes.onnx_runtime import OnnxRuntime

    sessions = [OnnxRuntime().prepare(model, model_precision(model), 1) for model in models]
    times = [[] for _ in sessions]
    for _ in range(rounds):
        for number, session in enumerate(sessions):
            session.time(2)
            times[number] += session.time(repeats).tolist()
    return [float(np.quantile(found, 0.1)) for found in times]


@pytest.mark.benchmark
def test_int8_loses_little(bundle):
    import onnx

    from nas_edge.data import load_dataset
    from nas_edge.data.calibration import read_calibration
    from nas_edge.export.onnx_file import build_model
    from nas_edge.export.quantise import compare_precisions, quantised_file
    from nas_edge.pipeline.bundle import CALIBRATION
    from nas_edge.pipeline.networks import bundle_evaluator, bundle_preprocess
    from nas_edge.runtimes.saturation import local_form
    from nas_edge.spaces.onnx_tensorrt import tensorrt_form

    preprocess, supernet, evaluator = bundle_preprocess(bundle), bundle.supernet(), bundle_evaluator(bundle)
    dataset, calibration, form = load_dataset("trashnet"), read_calibration(bundle.path / CALIBRATION), local_form()
    columns = "points [95 % interval]  TensorRT's form"
    print(f"\nMACs      px  images   fp32    int8  {columns}")
    losses = []
    for arch in at_quantiles(bundle.space, bundle.num_classes):
        net = evaluator.recalibrated(supernet, arch)
        side = net.resolution
        images = np.concatenate([split.images(preprocess, side) for split in (dataset.search, dataset.test)])
        labels = np.concatenate([np.asarray(split.labels) for split in (dataset.search, dataset.test)])
        model = build_model(net)
        int8 = quantised_file(model, calibration.images(preprocess, side), preprocess, form)
        about = {"calibration_images": len(calibration), "on": "search and test split"}
        report = compare_precisions(model, int8, images, preprocess, labels, **about)
        symmetric = tensorrt_form(onnx.load_from_string(int8)).SerializeToString()
        there = compare_precisions(model, symmetric, images, preprocess, labels, **about)
        macs = bundle.space.macs(arch[None], bundle.num_classes)[0] / 1e6
        low, high = (100 * end for end in report.interval)
        gain = 100 * (report.after - report.before)
        print(
            f"{macs:6.1f} M {side:4} {report.images:7} {report.before:7.2%} {report.after:7.2%} "
            f"{gain:+6.2f} [{low:+.2f}, {high:+.2f}] {100 * (there.after - there.before):+13.2f}"
        )
        losses.append(-gain)
    print(f"mean loss {np.mean(losses):.2f} points, greatest {max(losses):.2f}")
    assert np.mean(losses) <= 1
    assert max(losses) <= 2


@pytest.mark.benchmark
def test_int8_is_faster(bundle):
    """ONNX Runtime on this machine, one thread; what a run takes does not depend on the weights."""
    from nas_edge.pipeline.seeded import seeded_model

    space, classes = bundle.space, bundle.num_classes
    print("\nMACs      px   fp32 ms  int8 ms  times as fast")
    for arch in at_quantiles(space, classes):
        models = [seeded_model(space, arch, classes, precision=precision) for precision in ("fp32", "int8")]
        slow, fast = interleaved_ms(models)
        macs, side = space.macs(arch[None], classes)[0] / 1e6, space.to_json(arch)["r"]
        print(f"{macs:6.1f} M {side:4} {slow:9.3f} {fast:8.3f} {slow / fast:14.2f}")
        assert fast < slow


@pytest.mark.benchmark
def test_training_for_int8_against_plain_fine_tuning(bundle, tmp_path):
    """The smallest network, weights of 7 bits (CPUs without VNNI), two epochs each: search split, int8."""
    import torch

    from nas_edge.data import load_dataset
    from nas_edge.data.calibration import read_calibration
    from nas_edge.pipeline.bundle import CALIBRATION
    from nas_edge.pipeline.networks import bundle_preprocess, subnet_of_bundle
    from nas_edge.spaces import Precision
    from nas_edge.spaces.onnx_quantise import QdqForm
    from nas_edge.training.measuring.answers import ranges_of
    from nas_edge.training.measuring.evaluate import Evaluator
    from nas_edge.training.recipe import Recipe
    from nas_edge.training.single.finetune import finetune, finetune_for_int8, finetune_recipe

    torch.set_num_threads(1)
    dataset, preprocess = load_dataset("trashnet"), bundle_preprocess(bundle)
    recipe = finetune_recipe(Recipe.from_dict(bundle.header.get("recipe", {})), 2, 0)
    calibration = read_calibration(bundle.path / CALIBRATION)
    print("\nweights  network             fp32     int8")
    for bits in (8, 7):
        form = QdqForm(weight_bits=bits)
        evaluator = Evaluator(calibration, preprocess, form)

        def figures(net, evaluator=evaluator):
            return [
                evaluator.evaluate(net, net.resolution, dataset.search, precision=p).accuracy
                for p in (Precision.FP32, Precision.INT8)
            ]

        def fresh():
            return subnet_of_bundle(bundle, bundle.space.smallest())

        ways = {"as inherited": figures(fresh())}
        if bits == 8:
            plain, _ = finetune(fresh(), dataset, preprocess, recipe, Path(tmp_path / f"plain{bits}"))
            ways["fine-tuned"] = figures(plain)
        net = fresh()
        ranges = ranges_of(net, evaluator.calibration_batches(net.resolution))
        out = Path(tmp_path / f"int8-{bits}")
        trained, _ = finetune_for_int8(net, dataset, preprocess, recipe, out, ranges=ranges, form=form)
        ways["trained for int8"] = figures(trained)
        for name, (before, after) in ways.items():
            print(f"{bits} bits   {name:<17} {before:7.2%}  {after:7.2%}")
