"""ONNX against torch on the search and test photographs of TrashNet: README, "figures".

The test split is looked at here without its labels: only whether two programs agree on it.
"""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.errors import UnknownNameError


@pytest.mark.benchmark
def test_exported_subnets_of_the_embedded_bundle_agree_with_torch():
    from nas_edge.data import load_dataset
    from nas_edge.export.onnx_file import build_model
    from nas_edge.export.parity import check_parity
    from nas_edge.pipeline.bundle import load_bundle
    from nas_edge.pipeline.networks import bundle_evaluator, bundle_preprocess

    try:
        bundle = load_bundle("trashnet")
    except UnknownNameError as error:
        pytest.skip(str(error))
    space, preprocess, supernet = bundle.space, bundle_preprocess(bundle), bundle.supernet()
    dataset, evaluator = load_dataset("trashnet"), bundle_evaluator(bundle)
    sampled = space.sample(3, np.random.default_rng(0))
    archs = {"smallest": space.smallest(), "largest": space.largest()}
    archs |= {f"random {number}": arch for number, arch in enumerate(sampled, 1)}
    print("\nsubnet     side  images  largest difference  top-1 agreement")
    for name, arch in archs.items():
        net = evaluator.recalibrated(supernet, arch)
        side = net.resolution
        images = np.concatenate([split.images(preprocess, side) for split in (dataset.search, dataset.test)])
        report = check_parity(net, build_model(net), images, preprocess)
        figures = f"{report.max_abs_difference:>18.1e}  {report.top1_agreement:>14.2%}"
        print(f"{name:<10} {side:>4}  {report.images:>6}  {figures}")
        assert report.images == 759
        assert report.passed
        assert report.top1_agreement == 1
