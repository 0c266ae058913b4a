"""int8 `.tflite` files of subnets for microcontrollers: TensorFlow Lite Micro to the bit, its arena, Vela's estimates.

`pytest -m benchmark -s tests/benchmarks/test_small_devices.py`. Five subnets by their MACs; weights are random where no
bundle of the space is at hand: neither bits nor arena depend on what they are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas_edge.spaces import SearchSpace

pytestmark = pytest.mark.benchmark

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
CLASSES, IMAGES, SEED = 6, 8, 2028
TARGETS = ("ethos-u55-128", "ethos-u85-256")


def int8_models() -> dict[float, bytes]:
    """Canonical int8 models by share of the greatest MACs' rank."""
    from nas_edge.pipeline.seeded import seeded_model

    space = SearchSpace.named("mcu")
    rows = np.concatenate(
        [space.smallest()[None], space.sample(500, np.random.default_rng(SEED)), space.largest()[None]]
    )
    order = np.argsort(space.macs(rows, CLASSES))
    return {
        share: seeded_model(space, rows[order[round(share * (len(rows) - 1))]], CLASSES, SEED, "int8")
        for share in QUANTILES
    }


def test_tensorflow_lite_micro_computes_the_same_bits() -> None:
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("tflite_micro")
    from nas_edge.runtimes.litert import LiteRtSession
    from nas_edge.runtimes.tflite import convert
    from nas_edge.runtimes.tflite.micro import run_micro

    print("\nsubnet  side  file bytes  arena total    head    tail  images  equal outputs")
    for share, model in int8_models().items():
        file = convert(model)
        source, target = file.inputs[0], file.outputs[0]
        side = source.shape[-1]
        codes = np.random.default_rng(SEED).integers(-128, 128, (IMAGES, side, side, 3)).astype(np.int8)
        plain = replace(  # codes in and out, as TensorFlow Lite Micro has them
            file,
            inputs=(replace(source, shape=(1, side, side, 3), channels_last=True, given="int8"),),
            outputs=(replace(target, given="int8"),),
        )
        session = LiteRtSession(plain, 1, reference=True)
        wanted = np.concatenate([session.run({source.name: image[None]})[target.name] for image in codes])
        run = run_micro(file.data, codes)
        equal = int((run.outputs == wanted).all(axis=1).sum())
        print(
            f"{share:>5.0%}   {side:>4}  {len(file.data):>10,}  {run.arena_bytes:>11,}  {run.head_bytes:>6,}  "
            f"{run.tail_bytes:>6,}  {IMAGES:>6}  {equal:>13}"
        )
        assert equal == IMAGES


@pytest.mark.parametrize("name", TARGETS)
def test_vela_estimates(name: str) -> None:
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("ethosu")
    from nas_edge.pipeline.devices.targets import load_target
    from nas_edge.pipeline.profiling.estimated import estimate_on, origin_of

    target = load_target(name)
    print(f"\n{name}: modelled, nothing is measured\nsubnet       ms      SRAM  operators on NPU / CPU")
    for share, model in int8_models().items():
        found = estimate_on(target, model)
        operators = f"{found.npu_operators:>11} / {found.cpu_operators}"
        print(f"{share:>5.0%}   {found.ms:>6.3f}  {found.sram_bytes:>8,}  {operators}")
        assert found.cpu_operators == 0
    print(origin_of(target, found).describe())
