"""How well the predictor's parts do on published figures: missing blocks, intervals, transfer, speed.

`pytest -m benchmark -s tests/benchmarks/test_latency_model.py`. Sums over blocks of a published table are no measured
networks, and are called sums.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from nas_edge.latency import BlockEntry, LatencyPredictor, LatencyTable, NetworkEntry, Role, TableHeader, read_table
from nas_edge.latency.block_model import fit_block_model
from nas_edge.latency.calibration import fit_calibration
from nas_edge.latency.carrying import fit_carrying
from nas_edge.latency.lowering import network_blocks
from nas_edge.latency.nnls import nnls
from nas_edge.latency.transfer import known_parts
from nas_edge.pipeline.bundle import load_bundle
from nas_edge.search.constraints import Constraint
from nas_edge.search.metrics import MetricContext, TargetSources, build_metrics
from nas_edge.search.run import search
from nas_edge.spaces import BlockSpec, SearchSpace
from tests.benchmarks.published import (
    NOTE10_SIDES,
    Floats,
    Network,
    Times,
    block_times,
    dynamic_ofa,
    fbnet_networks,
    gpu_networks,
    i7,
    note10,
    random_part,
    sums,
)

pytestmark = pytest.mark.benchmark
TABLES = Path(__file__).resolve().parents[2] / "latency_tables"
NOTE10_SPACE = SearchSpace.named("ofa-mbv3-w1.2")


@pytest.fixture(scope="module")
def data(shared_dir: Path) -> Path:
    return shared_dir / "data/latency"


def modelled(known: Times, wanted: Times) -> tuple[Times, str]:
    """What a model of `known` says of the blocks of `wanted`, and a line on its error on those that are missing."""
    model = fit_block_model(known)
    assert model is not None
    missing = [block for block in wanted if block not in known]
    predicted, error = model.predict(missing)
    truth = np.array([wanted[block] for block in missing])
    off = predicted / truth - 1
    inside = np.abs(np.log(predicted / truth)) < 1.645 * error
    line = (
        f"{len(known):5d} known {len(missing):5d} missing   MAPE {100 * np.abs(off).mean():5.2f} %   "
        f"bias {100 * off.mean():+5.2f} %   within the 90 % interval {100 * inside.mean():3.0f} %"
    )
    return {**{b: known.get(b, 0.0) for b in wanted}, **dict(zip(missing, predicted.tolist(), strict=True))}, line


def error_of_sums(space: SearchSpace, side: int, priced: Times, truth: Times, classes: int = 1000) -> str:
    rows = space.restrict([side]).sample(500, np.random.default_rng(1))
    networks = [space.lower(row, classes) for row in rows]
    off = sums(networks, priced) / sums(networks, truth) - 1
    return f"sums of 500 random subnets: MAPE {100 * np.abs(off).mean():.2f} %, worst {100 * np.abs(off).max():.2f} %"


def test_note10_blocks_that_are_left_out(data: Path) -> None:
    print("\nSamsung Note10 (sums of blocks, not measured networks)")
    for side in NOTE10_SIDES:
        truth = note10(data, [side])
        priced, line = modelled(note10(data, [other for other in NOTE10_SIDES if other != side]), truth)
        print(f"  without {side}: {line}; {error_of_sums(NOTE10_SPACE, side, priced, truth)}")
    truth = note10(data, [224])
    priced, line = modelled(note10(data, [160, 176, 192]), truth)
    print(f"  160 to 192 for 224: {line}; {error_of_sums(NOTE10_SPACE, 224, priced, truth)}")


def test_other_tables_with_blocks_left_out(data: Path) -> None:
    desktop = i7(data)
    print("\ni7-8700K, fitted on a random 5 %")
    for seed in range(5):
        print(f"  seed {seed}: {modelled(*random_part(desktop, 0.05, seed))[1]}")
    widths = {name: set(_blocks_of(f"ofa-mbv3-{name}", range(96, 257, 4))) for name in ("w1.0", "w1.2")}
    for name, blocks in widths.items():
        known = {block: ms for block, ms in desktop.items() if block in blocks}
        print(f"  {name} for the other width: {modelled(known, desktop)[1]}")
    known = {block: ms for block, ms in desktop.items() if block in set(_blocks_of("ofa-mbv3-w1.2", range(96, 201, 4)))}
    wanted = {block: desktop[block] for block in _blocks_of("ofa-mbv3-w1.2", [256]) if block in desktop}
    print(f"  up to 200 pixels for 256: {modelled(known, wanted)[1]}")
    print("other tables, a random 70 % known")
    pixel = data / "proxylessnas_pixel1"
    tables = {
        "pixel 1": block_times("proxylessnas", [pixel / "mobile_trim.yaml"]),
        "pixel 1 (another file)": block_times("proxylessnas", [pixel / "pixel_trim_itouchz.yaml"]),
        "DynamicOFA CPU": dynamic_ofa(data, "jetson"),
        "DynamicOFA GPU": dynamic_ofa(data, "jetson_GPU"),
        "TX2": block_times("harmonicnas", (data / "harmonicnas_jetson").glob("*_tx2.json")),
        "AGX Xavier": block_times("harmonicnas", (data / "harmonicnas_jetson").glob("*_agx.json")),
        **{name: {b: e.ms for b, e in table.blocks.items()} for name, table in measured_tables()},
    }
    for name, times in tables.items():
        print(f"  {name:44s} {modelled(*random_part(times, 0.7, 0))[1]}")


def test_intervals_hold_as_often_as_they_say(data: Path) -> None:
    print("\nshare of held-out networks at or below the 90 % bound (random splits; 87 to 95 is meant)")
    cells: list[Cell] = []
    space, rows, columns = gpu_networks(data, 1500)
    for name, ms in columns.items():
        print(f"  {name:28s}{_told(_coverage_of_table(space, rows, ms), cells)}")
    networks, phones = fbnet_networks(data)
    for name, ms in phones.items():
        print(f"  {name:28s}{_told(_coverage_of_networks(networks, ms), cells)}")
    for name, table in measured_tables():
        for about in sorted({network.space for network in table.networks}):
            entries = [network for network in table.networks if network.space == about]
            if len(entries) >= 40:
                lines = _told(_coverage_of_entries(table, entries), cells if len(entries) >= 60 else [])
                print(f"  {name} {about}, {len(entries)} networks (60 or more are meant): {lines}")
    inside = sum(87 <= cell.held <= 95 for cell in cells)
    far = sum(not 87 - 2 * cell.error <= cell.held <= 95 + 2 * cell.error for cell in cells)
    print(f"  {inside} of {len(cells)} within 87 to 95 %, {far} outside by more than two standard errors")


def test_transfers_with_few_networks(data: Path) -> None:
    print("\ntransfers: MAPE on the rest, mean of 20 random choices; with all networks as calibration: best achievable")
    phone, desktop = note10(data), i7(data)
    rows = NOTE10_SPACE.restrict(NOTE10_SIDES).sample(400, np.random.default_rng(5))
    networks = [tuple(b for b in NOTE10_SPACE.lower(r, 1000) if b in phone and b in desktop) for r in rows]
    _print_transfer("Note10 to i7 (sums)", networks, phone, sums(networks, desktop))
    _print_transfer("i7 to Note10 (sums)", networks, desktop, sums(networks, phone))
    jetson = dynamic_ofa(data, "jetson_GPU")
    cut = [tuple(b for b in network if b in jetson) for network in networks]
    _print_transfer("Note10 to a Jetson GPU (sums)", cut, phone, sums(cut, jetson))
    fbnet, phones = fbnet_networks(data)
    pixel = _additive(fbnet, phones["pixel2"])
    _print_transfer("Pixel 2 to Samsung A50", fbnet, pixel, phones["samsung_a50"])
    space, rows, columns = gpu_networks(data, 600)
    lowered = [space.lower(row, 1000) for row in rows]
    _print_transfer("V100 to Titan Xp, batch 1", lowered, _additive(lowered, columns["v100_1"]), columns["titan_xp_1"])
    tables = dict(measured_tables())
    for name, table in tables.items():
        other = tables.get(name.replace("fp32", "int8"))
        if "fp32" in name and other is not None:
            base = {block: entry.ms for block, entry in table.blocks.items()}
            for about in sorted({network.space for network in other.networks}):
                known = network_blocks(table, [network for network in other.networks if network.space == about])
                usable = [(blocks, ms) for blocks, ms in known if all(b in base for b in blocks)]
                times = np.array([ms for _, ms in usable])
                _print_transfer(f"{name} to int8, {about}", [blocks for blocks, _ in usable], base, times)


def test_how_much_a_search_gains_from_errors_of_the_blocks() -> None:
    """A table whose blocks are off by chance, searched; the same table without the errors is the truth."""
    bundle = load_bundle("trashnet")
    space, classes = bundle.space, bundle.num_classes
    table = next((t for _, t in measured_tables() if t.header.space.get("name") == space.name), None)
    if table is None:
        pytest.skip(f"no measured table of {space.name}")
    truth = LatencyPredictor.of(replace(table, networks=()), space, classes)
    print("\nnetworks that searches return, against random ones: mean of log(truth / predicted)")
    for error in (0.01, 0.02, 0.04):
        returned, at_random = [], []
        for seed in range(3):
            rng = np.random.default_rng(seed)
            blocks = {
                b: BlockEntry(e.ms * float(np.exp(error * rng.standard_normal()))) for b, e in table.blocks.items()
            }
            predictor = LatencyPredictor.of(replace(table, networks=(), blocks=blocks), space, classes)
            rows = space.sample(1000, rng)
            at_random.append(np.log(truth.point(rows) / predictor.point(rows)))
            context = MetricContext(
                space, classes, bundle.accuracy_predictor(), TargetSources(predictor), confidence=0.5
            )
            metrics = build_metrics(("accuracy", "latency"), context)
            for limit in np.quantile(predictor.point(rows), np.linspace(0.05, 0.95, 5)):
                budget = [Constraint("latency", "<=", float(limit))]
                best = search(space, metrics, budget, evaluations=4000, seed=seed, look_for_slack=False).best[None]
                returned.append(np.log(truth.point(best) / predictor.point(best)))
        picked, others = np.concatenate(returned), np.concatenate(at_random)
        text = [f"{100 * logs.mean():+.2f} % (deviation {100 * logs.std():.2f} %)" for logs in (picked, others)]
        print(f"  blocks off by {error:.0%}: returned {text[0]}, random {text[1]}")


def test_speed_of_predictions() -> None:
    print()
    for name, table in measured_tables():
        space = SearchSpace.named(str(table.header.space["name"]))
        predictor = LatencyPredictor.of(table, space, int(table.header.space["num_classes"])).later()
        population = space.sample(200_000, np.random.default_rng(0))
        predictor.predict(population[:10])
        begun = time.perf_counter()
        predictor.predict(population)
        took = time.perf_counter() - begun
        print(f"{name}: {len(population) / took:,.0f} predictions a second with bounds; {predictor.networks} networks")


def measured_tables() -> Iterator[tuple[str, LatencyTable]]:
    """Shipped tables with blocks and whole networks."""
    for path in sorted(TABLES.glob("*/*/table.yaml")):
        table = read_table(path.parent)
        if table.blocks and table.networks:
            yield f"{path.parent.parent.name}/{path.parent.name}", table


def _blocks_of(space: str, sides: range | list[int]) -> list[BlockSpec]:
    from nas_edge.latency.plan import distinct_blocks

    return list(distinct_blocks(SearchSpace(SearchSpace.named(space).template.with_resolutions(tuple(sides))), 1000))


def _coverage_of_table(space: SearchSpace, rows: np.ndarray, ms: Floats) -> list[Cell]:
    """Of tables of networks without blocks, through the predictor that a search uses."""
    header = TableHeader("gpu", "unstated", device={"class": "gpu"})
    parts = []
    for count, splits in ((10, 64), (20, 48), (60, 32)):
        held, below, error = [], [], []
        for seed in range(splits):
            order = np.random.default_rng(seed).permutation(len(rows))
            entries = tuple(
                NetworkEntry(str(i), space.name, 1000, space.to_json(rows[i]), Role.CALIBRATION, float(ms[i]))
                for i in order[:count]
            )
            predictor = LatencyPredictor.of(LatencyTable(header, {}, entries), space, 1000)
            rest = order[count:]
            prediction = predictor.predict(rows[rest])
            held.append((ms[rest] <= prediction.high).mean())
            below.append((ms[rest] >= prediction.low).mean())
            error.append(np.abs(prediction.point / ms[rest] - 1).mean())
        parts.append(_coverage(count, held, below, error))
    return parts


def _coverage_of_networks(networks: list[Network], ms: Floats) -> list[Cell]:
    """With blocks priced by an additive fit to half of the networks, calibrated and tested on the other half."""
    half = len(networks) // 2
    totals, megabytes = _costs(networks[half:], _additive(networks[:half], ms[:half]))
    return _coverage_of_sums(totals, megabytes, ms[half:])


def _coverage_of_entries(table: LatencyTable, entries: list[NetworkEntry]) -> list[Cell]:
    """Through the predictor that a search uses, calibrated on some of the networks and held against the others."""
    space, classes = SearchSpace.named(entries[0].space), entries[0].num_classes
    rows, ms = np.stack([space.from_json(entry.arch) for entry in entries]), np.array([entry.ms for entry in entries])
    parts = []
    for count in (10, 15, 20, 30, 45):
        if count > len(ms) - 10:
            break
        held, below, error = [], [], []
        for seed in range(100):
            order = np.random.default_rng(seed).permutation(len(ms))
            own, rest = order[:count], order[count:]
            used = tuple(replace(entries[i], role=Role.CALIBRATION) for i in own)
            prediction = LatencyPredictor.of(replace(table, networks=used), space, classes).predict(rows[rest])
            held.append((ms[rest] <= prediction.high).mean())
            below.append((ms[rest] >= prediction.low).mean())
            error.append(np.abs(prediction.point / ms[rest] - 1).mean())
        parts.append(_coverage(count, held, below, error))
    return parts


def _coverage_of_sums(totals: Floats, megabytes: Floats, ms: Floats) -> list[Cell]:
    parts = []
    for count in (10, 15, 20, 30, 60):
        if count > len(ms) - 10:
            break
        held, below, error = [], [], []
        for seed in range(200):
            order = np.random.default_rng(seed).permutation(len(ms))
            own, rest = order[:count], order[count : count + 200]
            fit = fit_calibration(totals[own], megabytes[own], ms[own])
            assert fit is not None
            work = fit.work(totals[rest], megabytes[rest])
            point, (low, high) = fit.point(work), fit.bound(work, 0.9)
            held.append((ms[rest] <= np.maximum(high, point)).mean())
            below.append((ms[rest] >= np.minimum(low, point)).mean())
            error.append(np.abs(point / ms[rest] - 1).mean())
        parts.append(_coverage(count, held, below, error))
    return parts


@dataclass(frozen=True)
class Cell:
    """How often bounds held with so many networks, per cent: the upper one, its standard error, the lower one."""

    count: int
    held: float
    error: float
    below: float
    mape: float


def _coverage(count: int, held: list[float], below: list[float], error: list[float]) -> Cell:
    spread = float(np.std(held, ddof=1) / np.sqrt(len(held)))
    return Cell(count, *(float(100 * x) for x in (np.mean(held), spread, np.mean(below), np.mean(error))))


def _told(found: list[Cell], cells: list[Cell]) -> str:
    cells += found
    return "  ".join(
        f"{c.count} networks: {c.held:.1f} +- {c.error:.1f} % (low {c.below:.1f} %), MAPE {c.mape:.1f} %" for c in found
    )


def _costs(networks: list[Network], times: Times) -> tuple[Floats, Floats]:
    return sums(networks, times), np.array([sum(b.weight_bytes for b in network) / 2**20 for network in networks])


def _additive(networks: list[Network], ms: Floats) -> Times:
    """Block times of a device whose whole networks alone are known: the best non-negative sum."""
    blocks = list(dict.fromkeys(block for network in networks for block in network))
    row_of = {block: i for i, block in enumerate(blocks)}
    counts = np.zeros((len(networks), len(blocks)))
    for i, network in enumerate(networks):
        for block in network:
            counts[i, row_of[block]] += 1
    # A fixed time that every network has is shared out to its blocks alike.
    share = counts / counts.sum(axis=1, keepdims=True)
    slopes = nnls(np.concatenate([counts, share], axis=1) / ms[:, None], np.ones(len(ms)))
    each = slopes[: len(blocks)] + slopes[len(blocks) :] / np.median(counts.sum(axis=1))
    floor = 0.01 * float(np.median(each[each > 0]))
    return dict(zip(blocks, np.maximum(each, floor).tolist(), strict=True))


def _print_transfer(name: str, networks: list[Network], base: Times, ms: Floats) -> None:
    blocks = list(dict.fromkeys(b for network in networks for b in network))
    parts = known_parts(_table_of({b: base[b] for b in blocks}), blocks)
    row_of = {block: i for i, block in enumerate(blocks)}
    counts = np.zeros((len(networks), len(blocks)))
    for i, network in enumerate(networks):
        for block in network:
            counts[i, row_of[block]] += 1
    known, texts = counts @ np.array([base[b] for b in blocks]), []
    for count in (5, 10, 20):
        errors, plain, held = [], [], []
        for seed in range(20):
            order = np.random.default_rng(seed).permutation(len(networks))
            own, rest = order[:count], order[count : count + 400]
            used = list(dict.fromkeys(b for i in own for b in networks[i]))
            carrying = fit_carrying([networks[i] for i in own], ms[own], used, parts[[row_of[b] for b in used]])
            predicted = counts[rest] @ carrying.block_ms(blocks, parts)
            errors.append(np.abs(predicted / ms[rest] - 1).mean())
            scale = np.median(ms[own] / known[own])
            plain.append(np.abs(scale * known[rest] / ms[rest] - 1).mean())
            left_out = np.sort(np.log(ms[own] / carrying.left_out_ms))
            held.append(
                (np.log(ms[rest] / predicted) <= np.quantile(left_out, min(1.0, 0.9 * (count + 1) / count))).mean()
            )
        texts.append(
            f"{count} networks {100 * np.mean(errors):.1f} % (scale alone {100 * np.mean(plain):.1f} %, "
            f"below the 90 % bound {100 * np.mean(held):.0f} %)"
        )
    half = np.random.default_rng(0).permutation(len(networks))
    own, rest = half[: len(half) // 2], half[len(half) // 2 :]
    additive = _additive([networks[i] for i in own], ms[own])
    best = counts[rest] @ np.array([additive.get(block, base[block]) for block in blocks])
    everything = fit_carrying([networks[i] for i in own], ms[own], blocks, parts)
    carried = counts[rest] @ everything.block_ms(blocks, parts)
    limit = min(np.abs(best / ms[rest] - 1).mean(), np.abs(carried / ms[rest] - 1).mean())
    print(f"  {name}: {'; '.join(texts)}; best achievable with half of all data {100 * limit:.1f} %")


def _table_of(times: Times) -> LatencyTable:
    return LatencyTable(TableHeader("known", "unstated"), {block: BlockEntry(ms) for block, ms in times.items()})
