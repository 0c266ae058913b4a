"""The graph in integers against ONNX Runtime, on the search and test photographs of TrashNet: README, "figures".

The test split is looked at here without its labels: only whether two programs agree on it.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from nas_edge.errors import UnknownNameError
from nas_edge.mcu.from_onnx import read_graph
from nas_edge.mcu.graph import Int8Graph
from nas_edge.mcu.reference import quantise_images, run
from nas_edge.spaces.onnx_quantise import CANONICAL
from tests.mcu.test_from_onnx import layer_differences, session_outputs

SUBNETS = 5
CHUNK = 64


@pytest.mark.benchmark
@pytest.mark.parametrize("name", ["trashnet-mcu"])
def test_integers_and_onnx_runtime_name_the_same_classes(name: str) -> None:
    from nas_edge.data import load_dataset
    from nas_edge.pipeline.bundle import load_bundle
    from nas_edge.pipeline.networks import bundle_preprocess, deployed_model, subnet_of_bundle

    try:
        bundle = load_bundle(name)
    except UnknownNameError as error:
        pytest.skip(str(error))
    space, preprocess, dataset = bundle.space, bundle_preprocess(bundle), load_dataset("trashnet")
    archs = {"smallest": space.smallest(), "largest": space.largest()}
    archs |= {f"random {i}": a for i, a in enumerate(space.sample(SUBNETS - 2, np.random.default_rng(0)), 1)}
    print(f"\n{name:<12} side  layers  images  codes that differ  largest in a layer  top-1 agreement")
    same, total = 0, 0
    for label, arch in archs.items():
        net = subnet_of_bundle(bundle, arch)
        model = onnx.load_from_string(deployed_model(net, bundle, "int8", CANONICAL))
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
        graph = read_graph(model)
        splits = (dataset.search, dataset.test)
        images = preprocess.normalise(np.concatenate([split.images(preprocess, net.resolution) for split in splits]))
        assert len(images) == 759
        found = list(layer_differences(model, images[:CHUNK]).values())
        largest = max(largest for largest, _ in found)
        share = float(np.mean([share for _, share in found]))
        agreed = agreement(model, graph, images)
        same, total = same + agreed, total + len(images)
        print(
            f"{label:<12} {net.resolution:>4}  {len(graph.layers):>6}  {len(images):>6}  {share:>17.4%}"
            f"  {largest:>18}  {agreed / len(images):>15.2%}"
        )
        assert largest <= 1
    print(f"all: {same} of {total} images, {same / total:.2%}")
    assert same / total >= 0.995


def agreement(model: onnx.ModelProto, graph: Int8Graph, images: np.ndarray) -> int:
    """Images to which both give the same class."""
    (wanted,) = session_outputs(model, images)
    got = run(graph, quantise_images(graph, images)).reshape(len(images), -1)
    return int((got.argmax(axis=1) == wanted.argmax(axis=1)).sum())
