"""A handful of networks carry a table over to another device, with an interval that holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas_edge.latency import LatencyPredictor, LatencyTable, NetworkEntry, Role, TableHeader
from nas_edge.latency.carrying import FEATURES, block_features, fit_carrying
from nas_edge.latency.choosing import _design, choose_networks
from nas_edge.latency.plan import distinct_blocks
from nas_edge.latency.transfer import known_parts, transfer
from nas_edge.origin import Origin, OriginKind
from nas_edge.spaces import BlockSpec, Kind, SearchSpace

from .toy import block_ms, make_table

LITE0 = SearchSpace.named("lite0")
TABLE = make_table(LITE0, calibration=0)
HEADER = TableHeader("other", "onnxruntime", origin=Origin(OriginKind.MODELLED), device={"class": "cpu"})


def other_ms(block: BlockSpec) -> float:
    """Another device: dear launches, large kernels twice as dear, the tail cheap."""
    factor = 2.0 if block.kernel == 5 else 1.2
    factor *= 0.6 if block.kind is not Kind.INVERTED_RESIDUAL else 1.0
    return 0.02 + factor * block_ms(block)


def measured(rows: np.ndarray, noise: float = 0.0, seed: int = 0) -> list[NetworkEntry]:
    rng = np.random.default_rng(seed)
    return [
        NetworkEntry(
            f"n{i}", "lite0", 10, LITE0.to_json(row), Role.CALIBRATION,
            sum(map(other_ms, LITE0.lower(row, 10))) * float(np.exp(noise * rng.standard_normal())),
        )
        for i, row in enumerate(rows)
    ]  # fmt: skip


def error(table: LatencyTable, population: np.ndarray) -> float:
    truth = np.array([sum(map(other_ms, LITE0.lower(row, 10))) for row in population])
    return float(np.abs(LatencyPredictor.of(table, LITE0, 10).point(population) / truth - 1).mean())


def test_ten_networks_teach_what_a_factor_cannot() -> None:
    population = LITE0.sample(60, np.random.default_rng(9))
    chosen = np.stack([p.arch for p in choose_networks(TABLE, LITE0, 10, 10)])
    carried = transfer(TABLE, HEADER, LITE0, measured(chosen))
    scaled = transfer(TABLE, HEADER, LITE0, measured(chosen)[:2])
    assert error(carried, population) < 0.03
    assert error(carried, population) < error(scaled, population) / 2
    assert carried.header.transfer["networks"] == 10
    assert carried.header.transfer["optimism"] >= 1
    assert {entry.origin for entry in carried.blocks.values()} == {OriginKind.MODELLED}
    assert set(distinct_blocks(LITE0, 10)) <= set(carried.blocks)


def test_chosen_networks_leave_less_uncertain_than_random_ones() -> None:
    pool = LITE0.sample(400, np.random.default_rng(9))
    chosen = np.stack([p.arch for p in choose_networks(TABLE, LITE0, 10, 10)])
    design = _design(TABLE, LITE0, 10, np.concatenate([pool, chosen]))
    everything, own = design[:400], design[400:]

    def left(rows: np.ndarray) -> float:
        spread = np.linalg.solve(np.eye(rows.shape[1]) + rows.T @ rows, everything.T)
        return float((everything * spread.T).sum(axis=1).mean())

    at_random = [left(everything[np.random.default_rng(s).permutation(400)[:10]]) for s in range(20)]
    assert left(own) < min(at_random)


def test_noise_alone_is_not_learned() -> None:
    population = LITE0.sample(60, np.random.default_rng(3))
    truth = np.array([1.5 * sum(map(block_ms, LITE0.lower(row, 10))) for row in population])
    errors, held = [], []
    for seed in range(5):
        rows, rng = LITE0.sample(10, np.random.default_rng(seed)), np.random.default_rng(100 + seed)
        noisy = [
            replace(n, ms=1.5 * sum(map(block_ms, LITE0.lower(row, 10))) * float(np.exp(0.1 * rng.standard_normal())))
            for n, row in zip(measured(rows), rows, strict=True)
        ]
        predictor = LatencyPredictor.of(transfer(TABLE, HEADER, LITE0, noisy), LITE0, 10)
        errors.append(np.abs(predictor.point(population) / truth - 1).mean())
        held.append((predictor.predict(population).high > truth).mean())
    assert np.mean(errors) < 0.07  # the mean of ten such networks is itself off by 3 %
    assert np.mean(held) > 0.85


def test_without_a_table_networks_alone_make_one() -> None:
    rows = LITE0.sample(20, np.random.default_rng(4))
    population = LITE0.sample(60, np.random.default_rng(5))
    alone = LatencyTable(HEADER, {}, tuple(measured(rows, 0.01)))
    assert error(alone, population) < 0.08
    predictor = LatencyPredictor.of(alone, LITE0, 10)
    assert predictor.interval == "jackknife+"
    assert (predictor.predict(population).exact_share == 0).all()


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_any_number_of_networks_gives_positive_times(count: int) -> None:
    carried = transfer(TABLE, HEADER, LITE0, measured(LITE0.sample(count, np.random.default_rng(6)), 0.5))
    assert min(entry.ms for entry in carried.blocks.values()) > 0
    prediction = LatencyPredictor.of(carried, LITE0, 10).predict(LITE0.sample(20, np.random.default_rng(7)))
    assert (prediction.low <= prediction.point).all()
    assert (prediction.point <= prediction.high).all()


def test_a_carrying_says_of_blocks_what_it_says_of_their_sums() -> None:
    rows = LITE0.sample(12, np.random.default_rng(8))
    networks = [LITE0.lower(row, 10) for row in rows]
    ms = np.array([sum(map(other_ms, network)) for network in networks])
    blocks = list(dict.fromkeys(b for network in networks for b in network))
    parts = known_parts(TABLE, blocks)
    carrying = fit_carrying(networks, ms, blocks, parts)
    of_block = dict(zip(blocks, carrying.block_ms(blocks, parts), strict=True))
    assert np.array([sum(of_block[b] for b in network) for network in networks]) == pytest.approx(ms, rel=0.05)
    assert carrying.left_out_ms == pytest.approx(ms, rel=0.25)
    assert block_features(blocks, np.ones(len(blocks))).shape == (len(blocks), len(FEATURES))


@pytest.mark.parametrize("count", [5, 10])
def test_a_device_that_differs_by_speed_alone_is_not_made_worse_by_learning_more(count: int) -> None:
    """Noisy networks of a device at 1.7 times the time: one factor is all there is to know."""
    errors, plain = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        rows = LITE0.sample(count + 60, rng)
        networks = [LITE0.lower(row, 10) for row in rows]
        truth = 1.7 * np.array([sum(TABLE.blocks[b].ms for b in network) for network in networks])
        noisy = truth * np.exp(0.06 * rng.standard_normal(len(truth)))
        blocks = list(dict.fromkeys(b for network in networks for b in network))
        parts = known_parts(TABLE, blocks)
        row_of = {block: i for i, block in enumerate(blocks)}
        used = list(dict.fromkeys(b for network in networks[:count] for b in network))
        carrying = fit_carrying(networks[:count], noisy[:count], used, parts[[row_of[b] for b in used]])
        of_block = dict(zip(blocks, carrying.block_ms(blocks, parts), strict=True))
        predicted = np.array([sum(of_block[b] for b in network) for network in networks[count:]])
        errors.append(np.abs(predicted / truth[count:] - 1).mean())
        factor = float(np.median(noisy[:count] / truth[:count]))
        plain.append(abs(factor - 1))
    assert np.mean(errors) < np.mean(plain) + 0.012


def test_a_plan_spreads_over_latency_and_is_the_same_for_a_seed() -> None:
    plan = choose_networks(TABLE, LITE0, 10, 12, seed=1)
    assert len({p.arch.tobytes() for p in plan}) == 12
    macs = LITE0.macs(np.stack([p.arch for p in plan]), 10)
    assert macs.max() > 15 * macs.min()
    again = choose_networks(TABLE, LITE0, 10, 12, seed=1)
    assert [p.arch.tolist() for p in plan] == [p.arch.tolist() for p in again]
    with pytest.raises(ValueError, match="three"):
        choose_networks(TABLE, LITE0, 10, 2)


def test_a_plan_keeps_to_the_resolutions_that_are_allowed() -> None:
    small = LITE0.restrict([64, 80])
    plan = choose_networks(LatencyTable(HEADER, {}), small, 10, 5)
    assert all(small.is_valid(p.arch[None])[0] for p in plan)
