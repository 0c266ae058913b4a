"""The best subnet under 96 KB of SRAM classifies test photographs in the emulator as ONNX Runtime does: README."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from nas_edge.mcu.boards import load_board
from nas_edge.mcu.counted import count_network
from nas_edge.pipeline.bundle import load_bundle
from nas_edge.pipeline.networks import bundle_dataset, bundle_preprocess, deployed_model, subnet_of_bundle
from nas_edge.pipeline.searching.flow import search_flow
from nas_edge.pipeline.searching.report import SearchReport
from nas_edge.pipeline.searching.request import SearchRequest
from nas_edge.spaces.onnx_quantise import CANONICAL
from tests.emulated import needs_emulator
from tests.mcu.test_from_onnx import session_outputs

pytestmark = [pytest.mark.benchmark, *needs_emulator]

IMAGES = 200
BUNDLE = "trashnet-mcu"


def test_200_test_photographs_in_the_emulator(tmp_path: Path) -> None:
    request = SearchRequest(
        target="stm32f405", sram_bytes=96 * 1024, flash_bytes=512 * 1024, bundle=BUNDLE, verify=False,
        out=tmp_path / "run",
    )  # fmt: skip
    report = search_flow(request)
    assert isinstance(report, SearchReport)
    bundle = load_bundle(BUNDLE)
    arch = bundle.space.from_json(report.arch, "the search's report")
    net = subnet_of_bundle(bundle, arch)
    model = deployed_model(net, bundle, "int8", CANONICAL)
    split = bundle_dataset(bundle, None).test
    chosen = split.subset(np.linspace(0, len(split) - 1, IMAGES).round().astype(np.int64))
    images = bundle_preprocess(bundle).normalise(chosen.images(bundle_preprocess(bundle), net.resolution))
    counted = count_network(model, load_board("stm32f405"), images, timeout_s=600)
    ours = counted.outputs.reshape(IMAGES, -1).argmax(axis=1)
    dynamic = onnx.load_from_string(model)
    for value in (*dynamic.graph.input, *dynamic.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    theirs = np.asarray(session_outputs(dynamic, images)).reshape(IMAGES, -1).argmax(axis=1)
    labels = np.asarray(chosen.labels)
    print(
        f"\n{report.resolution} px, {counted.graph.macs:,} MACs, {counted.instructions:,.0f} instructions an image, "
        f"SRAM {counted.run.firmware.static_ram_bytes + counted.run.stack_bytes:,} bytes\n"
        f"{IMAGES} photographs of the test split: emulator {np.mean(ours == labels):.1%}, ONNX Runtime int8 "
        f"{np.mean(theirs == labels):.1%}, the same class on {np.mean(ours == theirs):.1%}"
    )
    assert counted.equal
    assert np.mean(ours == theirs) >= 0.995
    assert np.mean(ours == labels) == pytest.approx(np.mean(theirs == labels), abs=0.01)
