"""The embedded bundles for microcontrollers: small, whole, and with accuracy in int8."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nas_edge.accuracy import read_accuracy
from nas_edge.errors import FormatError
from nas_edge.pipeline.bundle import ACCURACY, CALIBRATION, load_bundle

SMALL = ("trashnet-mcu", "fashion-mnist")


def test_together_they_take_three_megabytes() -> None:
    files = [file for name in SMALL for file in load_bundle(name).path.iterdir()]
    assert sum(file.stat().st_size for file in files) <= 3_000_000


@pytest.mark.parametrize("name", SMALL)
def test_they_are_measured_in_the_precision_that_microcontrollers_run(name: str) -> None:
    bundle = load_bundle(name)
    measured = read_accuracy(bundle.path / ACCURACY, bundle.space)
    assert len(measured.of_precision("int8")) >= 40
    for precision in ("fp32", "int8"):
        smallest, largest = bundle.accuracy_predictor(precision).predict(bundle.space.sample(2, _rng()))[:2]
        assert 0 < smallest <= 1.1
        assert 0 < largest <= 1.1
    blocks = bundle.space.lower(bundle.space.largest(), bundle.num_classes)
    assert not any(block.se for block in blocks)
    assert {str(block.activation) for block in blocks} <= {"relu6", "none"}
    assert all(block.out_channels % 8 == 0 for block in blocks[:-1])


def _rng():
    import numpy as np

    return np.random.default_rng(0)


def test_images_that_another_bundle_holds_are_not_shipped_twice(tmp_path: Path) -> None:
    bundle = load_bundle("trashnet-mcu")
    assert bundle.calibration == load_bundle("trashnet").path / CALIBRATION
    assert not (bundle.path / CALIBRATION).exists()
    copy = shutil.copytree(bundle.path, tmp_path / "copy")
    assert load_bundle(copy).calibration == bundle.calibration
    header = (copy / "bundle.yaml").read_text()
    digest = bundle.header["calibration"]["sha256"]
    (copy / "bundle.yaml").write_text(header.replace(digest, "0" * 64))
    with pytest.raises(FormatError, match="is not the archive that bundle 'trashnet-mcu' was measured with"):
        _ = load_bundle(copy).calibration
