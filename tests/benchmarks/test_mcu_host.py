"""The best subnet under 96 KB of SRAM classifies the whole shipped test set in the generated C: README, "figures"."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from nas_edge.mcu import reference
from nas_edge.mcu.codegen import Pixels, build_for_host, generate
from nas_edge.pipeline.bundle import load_bundle
from nas_edge.pipeline.exporting.c import graph_of
from nas_edge.pipeline.networks import bundle_dataset, bundle_preprocess, deployed_model, subnet_of_bundle
from nas_edge.pipeline.searching.flow import search_flow
from nas_edge.pipeline.searching.report import SearchReport
from nas_edge.pipeline.searching.request import SearchRequest
from nas_edge.spaces.onnx_quantise import CANONICAL
from tests.mcu.test_from_onnx import session_outputs

pytestmark = pytest.mark.benchmark

BUNDLES = ("trashnet-mcu", "fashion-mnist")


@pytest.mark.parametrize("name", BUNDLES)
def test_the_whole_test_split_in_generated_c(name: str, tmp_path: Path) -> None:
    request = SearchRequest(
        target="stm32f405", sram_bytes=96 * 1024, flash_bytes=512 * 1024, bundle=name, verify=False,
        out=tmp_path / "run",
    )  # fmt: skip
    report = search_flow(request)
    assert isinstance(report, SearchReport)
    assert report.memory is not None
    bundle = load_bundle(name)
    preprocess = bundle_preprocess(bundle)
    net = subnet_of_bundle(bundle, bundle.space.from_json(report.arch, "the search's report"))
    model = deployed_model(net, bundle, "int8", CANONICAL)
    graph = graph_of(model)
    split = bundle_dataset(bundle, None).test
    photographs, labels = split.images(preprocess, net.resolution), np.asarray(split.labels)
    pixels = Pixels(tuple(map(float, preprocess.mean)), tuple(map(float, preprocess.std)))
    codes = pixels.codes(photographs, graph.input)
    build = build_for_host(generate(graph), graph.input, graph.output, tmp_path / "c")
    outputs = build.run(codes)
    dynamic = onnx.load_from_string(model)
    for value in (*dynamic.graph.input, *dynamic.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    logits = np.asarray(session_outputs(dynamic, preprocess.normalise(photographs)))
    ours, theirs = (one.reshape(len(labels), -1).argmax(axis=1) for one in (outputs, logits))
    equal = int((outputs == reference.run(graph, codes)).reshape(len(labels), -1).all(axis=1).sum())
    print(
        f"\n{name}: {net.resolution} px, {graph.macs:,} MACs, at most {report.memory.sram_bytes:,} bytes of SRAM, "
        f"{report.memory.flash_bytes:,} of flash\n{len(labels)} images of the test split: generated C "
        f"{np.mean(ours == labels):.2%}, ONNX Runtime int8 {np.mean(theirs == labels):.2%}, the same class on "
        f"{np.mean(ours == theirs):.2%}; bit by bit as the reference: {equal} of {len(labels)}"
    )
    assert equal == len(labels)
    assert np.mean(ours == theirs) >= 0.995
