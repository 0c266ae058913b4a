"""The tables that come with nas-edge: what the importers make of the sources, each with its licence, none needed."""

from __future__ import annotations

import csv
import gzip
import math
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas_edge.latency import LatencyPredictor, read_table
from nas_edge.latency.check import check_table
from nas_edge.latency.prior import RUNTIME_LOG_ERROR
from nas_edge.latency.table_io import header_to_dict
from nas_edge.origin import OriginKind
from nas_edge.pipeline.tables.importing import import_command, import_request
from nas_edge.spaces import SearchSpace

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted(path.parent for path in (ROOT / "latency_tables").glob("*/*/table.yaml"))
COUNTED = [path for path in SHIPPED if path.name.startswith("mcu-")]  # see test_counted_tables
IMPORTED = [path for path in SHIPPED if not path.parent.name.startswith("cpu-") and path not in COUNTED]
SOURCES = {
    "ofa": "ofa_note10",
    "proxylessnas": "proxylessnas_pixel1",
    "nsganetv2": "nsganetv2_i7",
    "harmonicnas": "harmonicnas_jetson",
    "ncnn": "ncnn_benchmark",
}


def source_file(name: str, folder: Path, unpacked: Path) -> Path:
    """A file of the shared data by its upstream name; what lies there packed is unpacked."""
    if (folder / name).is_file():
        return folder / name
    (packed,) = folder.glob(f"*{name}.gz")
    (unpacked / name).write_bytes(gzip.decompress(packed.read_bytes()))
    return unpacked / name


@pytest.mark.parametrize("path", IMPORTED, ids=lambda path: path.parent.name)
def test_the_command_in_its_header_makes_the_same_table_again(
    path: Path, shared_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = read_table(path)
    words = shlex.split(shipped.header.protocol["imported_by"])
    assert words[:4] == ["nas-edge", "table", "import", "--format"]
    folder = shared_dir / "data/latency" / SOURCES[words[4]]
    rest, options, files = words[5:], {}, []
    lists: dict[str, list[str]] = {"note": [], "option": [], "without": []}
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            files.append(source_file(word, folder, tmp_path))
        elif word[2:] in lists:
            lists[word[2:]].append(rest.pop(0))
        else:
            options[word[2:].replace("-", "_")] = rest.pop(0)
    request = import_request(
        options.pop("target"), notes=lists["note"], options=lists["option"], without=lists["without"],
        **(options | ({"threads": int(options["threads"])} if "threads" in options else {})),  # type: ignore[arg-type]
    )  # fmt: skip
    report = import_command(words[4], files, request, tmp_path / "made")
    made = read_table(Path(report.data["table"]))
    assert header_to_dict(made.header, 0, 0) == header_to_dict(shipped.header, 0, 0)
    assert made.blocks == shipped.blocks
    assert Path(report.data["table"]).relative_to(tmp_path / "made") == path.relative_to(ROOT / "latency_tables")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_every_table_is_fit_to_be_shared_and_says_whose_it_is(path: Path) -> None:
    table = read_table(path)
    header = table.header
    assert header.directory_name == path.name
    assert header.target == path.parent.name
    assert check_table(table, known={str(p): read_table(p) for p in SHIPPED if p.parent != path.parent}).ok
    if header.origin.kind is OriginKind.MEASURED:
        assert header.origin.machine
    elif path in COUNTED:
        assert header.protocol["kernels"]
    else:
        assert header.sources
        assert all(source.name and source.url and source.revision and source.licence for source in header.sources)
        assert (header.origin.kind is OriginKind.MODELLED) == (not table.blocks)


def test_what_has_no_licence_is_named_in_notice() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    begins = notice.index("Without a licence")
    for path in IMPORTED:
        licences = {source.licence for source in read_table(path).header.sources}
        where = re.search(rf"\b{re.escape(path.parent.name)}\b", notice)
        assert where is not None
        assert (where.start() > begins) == ("none stated" in licences)


def test_the_one_figure_that_two_jetsons_share_is_found() -> None:
    paths = [path for path in SHIPPED if path.name == "harmonicnas-fp32"]
    if len(paths) < 2:
        pytest.skip("the tables were removed, as they may be")
    first, second = (read_table(path) for path in paths)
    (row,) = check_table(first, known={"other": second}).foreign
    assert row.text == "linear 1x1x1536 -> 1000"


def test_a_board_without_blocks_is_bounded_by_a_factor_of_two_and_says_that_it_is_assumed() -> None:
    """As wide as another runtime and half precision make it, and no wider."""
    path = ROOT / "latency_tables/raspberry-pi-5/ncnn-fp16"
    if not path.is_dir():
        pytest.skip("the table was removed, as it may be")
    space = SearchSpace.named("lite0")
    population = np.stack([space.smallest(), space.largest()])
    prediction = LatencyPredictor.of(read_table(path), space, 6).predict(population)
    assert prediction.interval == "assumed"
    assert (prediction.exact_share == 0).all()
    assert (prediction.high > 1.7 * prediction.point).all()
    assert (prediction.high < 3 * prediction.point).all()
    assert prediction.point[0] < prediction.point[1]


def test_what_another_runtime_changes_is_as_stated(shared_dir: Path) -> None:
    folder = shared_dir / "data/latency/qedusc_mobile"

    def load(name: str) -> dict[str, dict[str, str]]:
        with gzip.open(folder / name, "rt", encoding="utf-8") as file:
            return {row["model"]: row for row in csv.DictReader(file)}

    tflite, torch = load("tflite_cnn_e2e.csv.gz"), load("torch_cnn_e2e.csv.gz")
    mobile = re.compile("mobilenet|mnasnet|proxyless|efficientnet|spnas|fbnet")
    names = [name for name in tflite if name in torch and mobile.search(name)]
    columns = [c for c in next(iter(tflite.values())) if c in next(iter(torch.values()))]
    cores = [c for c in columns if re.search(r"\|1(large|med|small)\|float\|mean$", c)]
    logs = [math.log(float(torch[n][c]) / float(tflite[n][c])) for n in names for c in cores]
    assert (len(names), len(cores), len({c.split("|")[0] for c in cores})) == (41, 11, 5)
    assert math.sqrt(sum(x * x for x in logs) / len(logs)) == pytest.approx(RUNTIME_LOG_ERROR, abs=0.005)


def test_ncnn_s_own_file_says_what_its_conversion_says(shared_dir: Path, tmp_path: Path) -> None:
    """The same five times, read from the README and from a table that somebody else made of it."""
    folder = shared_dir / "data/latency/ncnn_benchmark"
    with open(folder / "ncnn_benchmark_e2e.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for path in (path for path in IMPORTED if path.name.startswith("ncnn-")):
        header = read_table(path).header
        gpu = "-1" if header.device["class"] == "mobile-cpu" else "0"
        theirs = {
            row["model"]: float(row["min_ms"]) for row in rows
            if (row["device"], row["num_threads"], row["gpu_device"]) == (header.device["name"], "1", gpu)
            and row["model"] in header.prior["fitted_to"]
        }  # fmt: skip
        assert header.prior["fitted_to"] == theirs


def test_another_figure_would_be_another_table() -> None:
    """`header_to_dict` is what the comparison above rests on: it must see a change."""
    header = read_table(IMPORTED[0]).header
    assert header_to_dict(replace(header, notes=("x",)), 0, 0) != header_to_dict(header, 0, 0)
