"""Images that are given to an export: of bundles that ship none, of bundles that were moved, of others alike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nas_edge.cli.main import invoke
from nas_edge.data import load_dataset
from nas_edge.errors import DataError
from nas_edge.files import read_yaml, write_yaml
from nas_edge.pipeline.bundle import CALIBRATION, HEADER
from nas_edge.pipeline.exporting.flow import ExportWishes, export_flow
from nas_edge.pipeline.networks import FINETUNED, subnet_of_run
from nas_edge.pipeline.running.directory import load_run
from nas_edge.pipeline.searching.flow import search_flow
from nas_edge.pipeline.searching.request import SearchRequest
from nas_edge.supernet.weights import save_weights
from tests.bundles import make_images


@pytest.fixture
def images(stand_template: Path) -> Path:
    """What the tiny bundle was trained on."""
    return stand_template / "images"


@pytest.fixture
def moved(stand: Path, stand_template: Path) -> Path:
    """A run of a bundle whose images are gone from where they were."""
    shutil.copytree(stand_template / "bundles" / "tiny", "moved")
    header = read_yaml(Path("moved", HEADER))
    write_yaml(Path("moved", HEADER), header | {"data": header["data"] | {"spec": "gone/images"}})
    return search_flow(SearchRequest(target="board", bundle="moved", latency_ms=2.0, evaluations=1000)).run


@pytest.fixture
def bare(moved: Path, images: Path) -> Path:
    """The same of a bundle that never shipped any."""
    header = read_yaml(Path("moved", HEADER))
    sha256 = {name: split.sha256() for name, split in load_dataset(str(images)).splits.items()}
    write_yaml(
        Path("moved", HEADER),
        header | {"data": header["data"] | {"sha256": sha256}, "calibration": {"data": "gone/images"}},
    )
    Path("moved", CALIBRATION).unlink()
    return moved


def test_a_moved_bundle_is_proved_on_the_images_given_and_says_so(moved: Path, images: Path) -> None:
    own = export_flow(moved, precision="int8").quantisation
    given = export_flow(moved, precision="int8", wishes=ExportWishes(data=str(images)))
    found = given.quantisation
    assert own is not None
    assert found is not None
    assert own.on == "images it was trained on"
    assert (found.on, found.images, found.labelled) == (
        f"search and test split of {images}; labels of the search split", 48, 24,
    )  # fmt: skip
    assert f"of {images}" in "\n".join(given.lines())
    assert f"of {images}" in (given.directory / "model_card.md").read_text()


def test_a_bundle_without_images_exports_to_the_very_file_that_one_with_images_does(bare: Path, images: Path) -> None:
    with pytest.raises(DataError, match="'tiny' ships no images, and its batch norms need some: gone/images"):
        export_flow(bare)
    wishes = ExportWishes(data=str(images), sensitivity=True)
    report = export_flow(bare, precision="int8", wishes=wishes, out=Path("of-bare"))
    assert report.quantisation is not None
    assert report.quantisation.calibration_images == 48
    assert report.sensitive
    assert export_flow(bare, wishes=ExportWishes(data=str(images))).parity.images == 48
    whole = json.loads((bare / "result.json").read_text()) | {"bundle": "tiny"}
    (bare / "result.json").write_text(json.dumps(whole))
    assert export_flow(bare, precision="int8").model.read_bytes() == report.model.read_bytes()


def test_other_images_of_the_same_classes_prove_and_calibrate_a_network_with_weights_of_its_own(
    bare: Path, images: Path
) -> None:
    net, _, _ = subnet_of_run(load_run(bare), str(images))
    save_weights(net, bare / FINETUNED)
    others = str(make_images(Path("others"), train=5, others=3))
    assert export_flow(bare, wishes=ExportWishes(data=others)).parity.images == 18
    with pytest.raises(DataError, match="others: is not what bundle 'tiny' was trained on"):
        export_flow(bare, precision="int8", wishes=ExportWishes(data=others))
    found = export_flow(bare, precision="int8", wishes=ExportWishes(data=others, calibration=others)).quantisation
    assert found is not None
    assert (found.calibration_images, found.images) == (15, 18)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_images_of_other_classes_and_none_are_refused_in_one_line(
    moved: Path, capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    others = make_images(Path("others"), train=3, others=2)
    for split in others.iterdir():
        (split / "brick").rename(split / "stone")
    assert invoke(["export", str(moved), "--precision", precision, "--data", str(others)]) == 2
    error = capsys.readouterr().err
    assert "others: classes apple, cloud, stone are not the bundle's (apple, brick, cloud)" in error
    assert error.count("\n") == 1
    assert invoke(["export", str(moved), "--precision", precision, "--data", "nowhere/"]) == 2
    assert "nowhere/: there is no such folder or file" in capsys.readouterr().err


def test_the_command_takes_them(bare: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["export", str(bare), "--precision", "int8", "--data", str(images), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["quantisation"]["on"] == f"search and test split of {images}; labels of the search split"
