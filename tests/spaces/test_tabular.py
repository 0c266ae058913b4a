"""A table of architectures is a space like any other: its populations are its rows."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_edge.errors import ArchitectureError, FormatError, SpaceError
from nas_edge.spaces import Space
from nas_edge.spaces.tabular import TabularSpace

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


def nas_bench_201(ops: tuple[str, ...]) -> str:
    a, b, c, d, e, f = ops
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"


def written(path: Path, *lines: str) -> TabularSpace:
    path.write_text("\n".join(lines) + "\n")
    return TabularSpace.read(path)


@pytest.fixture
def sparse(tmp_path: Path) -> TabularSpace:
    """300 of the 4^6 combinations of six categorical genes."""
    rng = np.random.default_rng(0)
    rows = np.array(list(itertools.product("abcd", repeat=6)))[rng.choice(4**6, 300, replace=False)]
    lines = [",".join([*row, f"{rng.random():.6f}", f"{rng.integers(1, 90)}"]) for row in rows]
    header = ",".join([*(f"gene.x{i}" for i in range(6)), "metric.accuracy", "metric.latency ms"])
    return written(tmp_path / "sparse.csv", header, *lines)


def test_cells_of_nas_bench_201_become_a_gene_for_each_edge(tmp_path):
    cells = list(itertools.product(OPS, repeat=6))[::97]
    lines = [f"{nas_bench_201(ops)},{50 + i * 0.1:.1f}" for i, ops in enumerate(cells)]
    space = written(tmp_path / "nb201.csv", "arch,metric.accuracy %:max", *lines)
    assert [gene.name for gene in space.genes] == ["e1.0", "e2.0", "e2.1", "e3.0", "e3.1", "e3.2"]
    assert space.size() == len(cells)
    for row, ops in zip(space.rows, cells, strict=True):
        data = space.to_json(row)
        assert data["arch"] == nas_bench_201(ops)
        assert tuple(data[gene.name] for gene in space.genes) == ops
        assert np.array_equal(space.from_json({"arch": data["arch"]}), row)
    assert space.figure("accuracy").unit == "%"


def test_lists_of_indices_become_a_gene_for_each_place(tmp_path):
    space = written(tmp_path / "fbnet.csv", "arch,metric.pixel2 ms:min", "7 8 10,28", '"7,2,1",31')
    assert [gene.name for gene in space.genes] == ["g1", "g2", "g3"]
    assert space.genes[2].choices == (1.0, 10.0)  # numbers in the order of numbers
    assert space.labels[2] == ("1", "10")


def test_packed_files_and_leading_comments_are_read(tmp_path):
    path = tmp_path / "small.csv.gz"
    path.write_bytes(gzip.compress(b"# format: 1; made by hand\ngene.a,gene.b,metric.accuracy\n1,x,0.5\n2,x,0.7\n"))
    space = TabularSpace.read(path)
    assert (space.name, space.size(), space.figure("accuracy").maximise) == ("small", 2, True)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["gene.a,metric.accuracy", "1,0.5", "2,nan"], r"t\.csv:3: metric 'accuracy' is 'nan', not a finite number"),
        (["gene.a,metric.accuracy", "1,0.5", "2,inf"], r"t\.csv:3: metric 'accuracy' is 'inf'"),
        (["gene.a,metric.accuracy", "1,0.5", "2,"], r"t\.csv:3: metric 'accuracy' is empty"),
        (["gene.a,metric.accuracy", "1,0.5", ",0.5"], r"t\.csv:3: gene 'a' is empty"),
        (["gene.a,metric.accuracy", "1,0.5", "", "2"], r"t\.csv:4: has 1 cells where the header has 2"),
        (["gene.a,metric.accuracy", "1,0.5", "2,0.6,7"], r"t\.csv:3: has 3 cells"),
        (["gene.a,metric.accuracy", "1,0.5", "2,0.6", "1,0.6"], r"t\.csv:4: lists the architecture of line 2 again"),
        (["gene.a,metric.speed", "1,0.5"], r"t\.csv:1: column 'metric.speed' does not say whether more is better"),
        (["gene.a,accuracy", "1,0.5"], r"t\.csv:1: column 'accuracy' is none of arch, gene.NAME"),
        (["gene.a,gene.a,metric.accuracy", "1,1,0.5"], r"t\.csv:1: column 'gene.a' is there twice"),
        (["gene.a,metric.x ms:min,metric.x s:min", "1,1,0.5"], r"t\.csv:1: metric 'x' is there twice"),
        (["arch,gene.a", "net,1"], r"t\.csv:1: lacks a column a metric.NAME"),
        (["metric.accuracy", "0.5"], r"t\.csv:1: lacks a column arch or gene.NAME"),
        (["arch,metric.accuracy", "net-1,0.5"], r"t\.csv:2: 'net-1' cannot be split into genes; give gene.NAME"),
        (["arch,metric.accuracy", "1 2,0.5", "1 2 3,0.5"], r"t\.csv:3: '1 2 3' has other parts"),
        (["arch,metric.accuracy", "|a~0|+|b~0|c~1|,0.5", "1 2 3,0.5"], r"t\.csv:3: '1 2 3' is not a cell like"),
        (["arch,metric.accuracy", "|a~0|+|b~0|c~1|,0.5", "|a~0|+|b~0|,0.5"], r"t\.csv:3: .* has other parts"),
        (["gene.a,metric.accuracy", '"1,0.5', "2,0.6"], r"t\.csv:2: is not CSV"),
        (["gene.a,metric.accuracy"], r"t\.csv: lists no architecture"),
        (["# format: 2", "gene.a,metric.accuracy", "1,2"], r"t\.csv:1: 'format: 1' is expected"),
        ([""], r"t\.csv: is empty"),
        (["gene.a,metric.accuracy", *(f"v{i},0.5" for i in range(128))], r"gene 'a' has 128 values, more than 127"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(tmp_path, lines, message):
    with pytest.raises(FormatError, match=message):
        written(tmp_path / "t.csv", *lines)


def test_files_that_are_no_text_are_refused(tmp_path):
    for name, content in [("a.csv", b"\xff\xfe\x00"), ("b.csv.gz", b"no gzip"), ("c.csv.gz", gzip.compress(b"x")[:-9])]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FormatError, match=name):
            TabularSpace.read(tmp_path / name)
    with pytest.raises(FormatError, match=r"none\.csv: cannot be read"):
        TabularSpace.read(tmp_path / "none.csv")


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), rate=st.floats(0.01, 1.0))
def test_whatever_is_done_to_populations_they_stay_listed(tmp_path_factory, seed, rate):
    space = _cached_sparse(tmp_path_factory)
    rng = np.random.default_rng(seed)
    a, b = space.sample(40, rng), space.sample(40, rng)
    for rows in (a, space.mutate(a, rng, rate), space.crossover(a, b, rng), space.repair(a * 0)):
        assert rows.dtype == np.int8
        assert rows.shape == a.shape
        assert space.is_valid(rows).all()
    assert np.array_equal(space.repair(a), a)


_CACHE: list[TabularSpace] = []


def _cached_sparse(tmp_path_factory: pytest.TempPathFactory) -> TabularSpace:
    if not _CACHE:
        path = tmp_path_factory.mktemp("sparse") / "s.csv"
        rng = np.random.default_rng(1)
        rows = np.unique(rng.integers(0, 4, (200, 6)), axis=0)
        lines = [",".join(map(str, [*row, i])) for i, row in enumerate(rows)]
        header = ",".join([*(f"gene.x{i}" for i in range(6)), "metric.accuracy"])
        _CACHE.append(written(path, header, *lines))
    return _CACHE[0]


def test_repair_finds_the_row_that_differs_in_fewest_genes(sparse):
    rng = np.random.default_rng(3)
    wanted = rng.integers(0, 6, (200, 6))
    repaired = sparse.repair(wanted)
    least = (wanted[:, None] != sparse.rows[None]).sum(axis=2).min(axis=1)
    assert np.array_equal((wanted != repaired).sum(axis=1), least)


def test_mutation_moves_to_neighbours_even_where_few_combinations_are_listed(sparse):
    rng = np.random.default_rng(4)
    rows = sparse.sample(500, rng)
    mutated = sparse.mutate(rows, rng, rate=0.4)
    moved = (mutated != rows).any(axis=1)
    assert moved.mean() > 0.8
    random_distance = (sparse.sample(500, rng) != rows).sum(axis=1).mean()
    assert (mutated != rows).sum(axis=1)[moved].mean() < 0.8 * random_distance


def test_everything_that_is_listed_is_enumerated_and_sampled(sparse):
    assert len(np.unique(sparse.enumerate(), axis=0)) == sparse.size() == 300
    drawn = np.unique(sparse.sample(6000, np.random.default_rng(0)), axis=0)
    assert len(drawn) == 300
    with pytest.raises(SpaceError, match="300 architectures, too many to list"):
        sparse.enumerate(limit=299)


def test_smallest_and_largest_are_by_cost(sparse):
    latency = sparse.figure("latency").values
    ends = np.stack([sparse.smallest(), sparse.largest()])
    assert sparse.lookup("latency", ends).tolist() == [latency.min(), latency.max()]


def test_figures_are_looked_up_and_what_is_not_listed_is_an_error(sparse):
    some = np.random.default_rng(0).permutation(300)[:50]
    assert np.array_equal(sparse.lookup("accuracy", sparse.rows[some]), sparse.figure("accuracy").values[some])
    with pytest.raises(ArchitectureError, match=r"x0=value 0.* is not listed in 'sparse'"):
        sparse.lookup("accuracy", np.zeros((1, 6), np.int8))
    with pytest.raises(SpaceError, match="no metric 'energy'; it has accuracy, latency"):
        sparse.figure("energy")


def test_restriction_keeps_the_rows_with_the_values_asked_for(sparse):
    fewer = sparse.restrict(x0=["a", "b"], x3=["c"])
    kept = [i for i, row in enumerate(sparse.rows) if row[0] in (1, 2) and row[3] == 3]
    assert np.array_equal(fewer.rows, sparse.rows[kept])
    assert np.array_equal(fewer.lookup("latency", fewer.rows), sparse.lookup("latency", fewer.rows))
    assert [len(values) for values in fewer.layout.values][:4] == [2, 4, 4, 1]
    assert fewer.is_valid(fewer.mutate(fewer.rows, np.random.default_rng(0), 0.5)).all()
    with pytest.raises(SpaceError, match="no gene 'y'"):
        sparse.restrict(y=["a"])
    with pytest.raises(SpaceError, match="x0 cannot be z; it can be a, b, c, d"):
        sparse.restrict(x0=["z"])
    with pytest.raises(SpaceError, match="no gene 'r'"):
        sparse.restrict(resolutions=(32,))


def test_json_that_is_not_listed_is_refused(sparse):
    data = sparse.to_json(sparse.rows[7])
    assert np.array_equal(sparse.from_json(data), sparse.rows[7])
    for change, message in [({"x0": "q"}, "x0 = q is not in"), ({"x0": None}, "x0 = None")]:
        with pytest.raises(ArchitectureError, match=message):
            sparse.from_json(data | change)
    listed = {tuple(row) for row in sparse.rows.tolist()}
    missing = next(row for row in itertools.product(range(1, 5), repeat=6) if row not in listed)
    with pytest.raises(ArchitectureError, match="is not listed"):
        sparse.from_json({f"x{i}": "abcd"[v - 1] for i, v in enumerate(missing)})
    with pytest.raises(ArchitectureError, match="'net' is not listed"):
        sparse.from_json({"arch": "net"})


def test_it_is_a_space_for_type_checkers_too(sparse):
    space: Space = sparse
    assert space.layout.globals == len(space.genes)
    assert space.depths(space.smallest()[None]).shape == (1, 0)


def test_a_real_table_of_fbnet_is_read(shared_dir, tmp_path):
    packed = shared_dir / "data" / "latency" / "help_fbnet" / "fbnet_5000_latency.csv.gz"
    first, *rest = gzip.decompress(packed.read_bytes()).decode().splitlines()
    header = ",".join(["arch", *(f"metric.{device} ms:min" for device in first.split(",")[1:])])
    space = written(tmp_path / "fbnet.csv", header, *rest)
    assert (space.size(), len(space.genes)) == (5000, 22)
    assert space.to_json(space.rows[0])["arch"] == rest[0].split(",")[0]
