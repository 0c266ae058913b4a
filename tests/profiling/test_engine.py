"""The engine on ONNX Runtime where it works, and on a failing runtime where it must not."""

import gc
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas_edge.devices import LocalDevice
from nas_edge.errors import ConfigError, DeviceError, FormatError, MeasurementError, StorageError
from nas_edge.profiling import Measurement, Protocol, Regime, Statistic, WorkItem, measure_many, measure_one
from nas_edge.runtimes import get_runtime
from nas_edge.spaces import SearchSpace
from nas_edge.spaces.onnx_blocks import build_onnx

from .fakes import FakeDevice, FakeRuntime

TINY = Protocol(
    min_rounds=2, rounds=3, max_rounds=4, repeats=4, max_repeats=8, visit_ms=0.5, warmup_ms=0.2, tolerance=0
)
FAST = [WorkItem("a", b"0.01"), WorkItem("b", b"0.02")]


def fake(items=FAST, runtime=None, protocol=TINY, device=None, **options):
    return measure_many(items, runtime or FakeRuntime(), device or FakeDevice(), protocol, **options)


@pytest.fixture(scope="module")
def real():
    space = SearchSpace.named("lite0")
    blocks = space.lower(space.smallest(), num_classes=6)
    items = [WorkItem("net", build_onnx(blocks).SerializeToString())]
    items += [WorkItem(f"block {i}", build_onnx(blocks[i : i + 1]).SerializeToString()) for i in (0, 3)]
    return measure_many(items, get_runtime("onnxruntime"), LocalDevice(), TINY), items


def test_a_network_takes_longer_than_its_blocks(real):
    found, items = real
    assert set(found) == {"net", "block 0", "block 3"}
    assert found["net"].median_ms > found["block 0"].median_ms > found["block 3"].median_ms > 0
    for item in items:
        assert found[item.name].artefact_sha256 == item.sha256


def test_a_measurement_says_what_was_measured_where_and_when(real):
    m = real[0]["net"]
    local = LocalDevice().fingerprint()
    assert (m.runtime, m.precision, m.threads, m.batch, m.regime) == ("onnxruntime", "fp32", 1, 1, Regime.HOT)
    assert m.device == local
    assert m.origin.machine == local.machine
    assert m.origin.describe(local.machine) == f"measured on this machine {m.date[:10]}"
    assert 3 <= len(m.visits) <= 4
    assert all(4 <= len(visit.samples_ms) <= 8 for visit in m.visits)


def test_statistics_are_ordered(real):
    for m in real[0].values():
        assert m.median_ms <= m.p90_ms <= m.p95_ms <= m.p99_ms
        assert m.upper95_ms >= m.median_ms
        assert m.estimate_ms("p90") == m.p90_ms
        assert m.spread >= 0


def test_json_keeps_every_sample(real):
    m = real[0]["net"]
    assert Measurement.from_json(json.loads(json.dumps(m.to_json()))) == m


def test_affinity_and_garbage_collection_are_restored_even_after_a_failure():
    before = os.sched_getaffinity(0)
    seen = []

    def times(repeats):
        seen.append((os.sched_getaffinity(0), gc.isenabled()))
        raise MeasurementError("broke down")

    with pytest.raises(MeasurementError, match="broke down"):
        fake(runtime=FakeRuntime(times), device=LocalDevice(), reference=lambda: 1.0)
    assert len(seen[0][0]) == 1
    assert not seen[0][1]
    assert os.sched_getaffinity(0) == before
    assert gc.isenabled()


def test_the_default_protocol_keeps_the_rules_of_the_house():
    p = Protocol.default()
    assert (p.regime, p.statistic) == (Regime.HOT, Statistic.MEDIAN)
    assert p.min_rounds >= 5
    assert p.repeats >= 10
    assert p.warmups >= 2
    assert p.quiet_tolerance == 0.03


def test_rounds_with_a_disturbed_reference_are_repeated_and_flagged():
    readings = iter([1.0] * 8 + [1.2] * 4 + [1.0] * 100)
    found = fake(
        FAST[:1], protocol=replace(TINY, max_rounds=10, rounds=6, min_rounds=6), reference=lambda: next(readings)
    )
    m = found["a"]
    assert sum(visit.quiet for visit in m.visits) == 6
    assert 1 <= sum(not visit.quiet for visit in m.visits) <= 4
    assert {round(v.reference_ratio, 1) for v in m.visits if not v.quiet} <= {1.1, 1.2}
    assert not m.disturbed
    assert m.used_visits == tuple(visit for visit in m.visits if visit.quiet)


def test_a_machine_that_never_is_quiet_gives_figures_that_say_so():
    readings = (1.0 + 0.1 * (i % 7) for i in range(10_000))
    m = fake(FAST[:1], reference=lambda: next(readings), reference_quiet_ms=0.5)["a"]
    assert len(m.visits) == TINY.max_rounds
    assert m.disturbed
    assert m.quiet_share == 0
    assert len(m.used_visits) == 3
    assert m.median_ms > 0


def test_times_are_brought_to_the_quiet_value_of_the_reference():
    """A clock that is 2 % slow slows the reference and the network alike."""
    speed = {"now": 1.0}

    def times(n):
        speed["now"] = 1.02 if speed["now"] == 1.0 else 1.0
        return np.full(n, 1e-6 * speed["now"])

    found = fake(FAST[:1], FakeRuntime(times), replace(TINY, rounds=4, max_rounds=9), reference=lambda: speed["now"],
                 reference_quiet_ms=1.0)  # fmt: skip
    slow = replace(TINY, rounds=4)
    by_three = fake(FAST[:1], FakeRuntime(lambda n: np.full(n, 1.03e-6)), slow, reference=lambda: 1.03,
                    reference_quiet_ms=1.0)  # fmt: skip
    assert not found["a"].disturbed
    assert by_three["a"].median_ms == pytest.approx(1e-6, rel=1e-9)
    assert by_three["a"].visits[0].samples_ms[0] == 1.03e-6


def test_a_clock_that_goes_slowly_to_and_fro_is_no_disturbance():
    count = iter(range(10**6))
    speed = {"now": 1.0}

    def reading():
        speed["now"] = 1 + 0.1 * np.sin(next(count) / 400)
        return speed["now"]

    items = [WorkItem(f"{i}", b"0.1") for i in range(150)]
    runtime = FakeRuntime(lambda n: np.full(n, 1e-6 * speed["now"]))
    found = fake(items, runtime, replace(TINY, rounds=12, min_rounds=12, max_rounds=16), reference=reading,
                 reference_quiet_ms=1.0)  # fmt: skip
    assert found["0"].interference.disturbed < 0.1 * found["0"].interference.visits
    assert all(m.median_ms == pytest.approx(1e-6, rel=2e-3) for m in found.values())
    assert not any(m.disturbed for m in found.values())


def test_a_machine_far_from_the_state_of_the_table_is_told():
    near, far = (fake(FAST[:1], reference=lambda ms=ms: ms, reference_quiet_ms=1.0)["a"] for ms in (0.88, 0.8))
    assert not near.disturbed
    assert far.disturbed


def test_what_was_brought_a_long_way_has_a_wider_limit():
    steady = FakeRuntime(lambda n: np.full(n, 1.2e-6))
    near, far = (fake(FAST[:1], steady, reference=lambda ms=ms: ms, reference_quiet_ms=1.0)["a"] for ms in (1.0, 1.2))
    assert near.upper95_ms == pytest.approx(near.median_ms)
    assert far.disturbed
    assert far.median_ms == pytest.approx(1e-6)
    assert far.upper95_ms == pytest.approx(1.04 * far.median_ms)


def test_a_disturbance_is_waited_for_to_pass_and_counted():
    readings = iter([1.0] * 60 + [1.5] * 3 + [1.0] * 200)
    protocol = replace(TINY, rounds=40, max_rounds=50, min_rounds=40, visit_ms=5, max_repeats=100, patience=0.9)
    m = fake([WorkItem("a", b"0.1")], protocol=protocol, reference=lambda: next(readings), reference_quiet_ms=1.0)["a"]
    assert m.interference.waits >= 1
    assert m.interference.waited_s > 0
    assert m.interference.disturbed < 3
    assert "waited" in m.interference.describe()
    impatient = iter([1.0] * 60 + [1.5] * 3 + [1.0] * 200)
    m = fake(FAST[:1], protocol=replace(protocol, patience=0), reference=lambda: next(impatient))["a"]
    assert m.interference.waits == 0
    assert m.interference.disturbed >= 1
    assert m.interference.slowest == 1.5


def test_the_reference_kernel_is_named_in_what_it_judged(tmp_path):
    class Kernel:
        identity = "mine, version 1"

        def __call__(self):
            return 1.0

    journal = tmp_path / "journal.jsonl"
    assert fake(reference=Kernel(), journal=journal)["a"].reference_kernel == "mine, version 1"
    Kernel.identity = "mine, version 2"
    with pytest.raises(FormatError, match="reference 'mine, version 1', not 'mine, version 2'"):
        fake(reference=Kernel(), journal=journal)


def test_a_model_is_loaded_anew_now_and_then():
    runtime = FakeRuntime()
    fake(FAST[:1], runtime, replace(TINY, rounds=4, max_rounds=4, reload_every=2))
    assert len(runtime.sessions) == 2
    assert all(session.closed for session in runtime.sessions)


def test_a_steady_item_is_finished_early():
    steady = FakeRuntime(lambda n: np.full(n, 1e-6))
    m = fake(runtime=steady, protocol=replace(TINY, min_rounds=3, rounds=20, max_rounds=20, tolerance=0.01))["a"]
    assert len(m.visits) == 3


def test_the_time_limit_still_visits_every_item_twice_as_an_interval_needs():
    found = fake(protocol=replace(TINY, time_limit_s=1e-6))
    assert [len(m.visits) for m in found.values()] == [2, 2]
    assert np.isfinite(found["a"].upper95_ms)


def test_visits_are_spread_over_the_least_span():
    begun = time.monotonic()
    fake(protocol=replace(TINY, min_span_s=0.4))
    assert 0.4 <= time.monotonic() - begun < 2


def test_each_round_visits_all_items_in_an_order_of_its_own_that_the_seed_decides():
    def visited(seed):
        runtime = FakeRuntime(lambda n: np.full(n, 1e-6))
        fake([WorkItem(f"{i}", f"{i}".encode()) for i in range(8)], runtime, replace(TINY, seed=seed))
        return [tuple(runtime.visited[i : i + 8]) for i in (0, 8, 16)]

    rounds = visited(1)
    assert len({*rounds, tuple(range(8))}) == 4
    assert all(sorted(order) == list(range(8)) for order in rounds)
    assert visited(1) == rounds != visited(2)


def test_cold_runs_are_slower_than_hot_ones():
    space = SearchSpace.named("lite0")
    model = build_onnx(space.lower(space.smallest(), num_classes=6)).SerializeToString()
    hot, cold = (
        measure_one(model, get_runtime("onnxruntime"), LocalDevice(), TINY.for_regime(regime))
        for regime in (Regime.HOT, Regime.COLD)
    )
    assert cold.regime is Regime.COLD
    assert cold.median_ms > 1.2 * hot.median_ms


def test_progress_is_told():
    told = []
    fake(progress=lambda done, total, text: told.append((done, total, text)))
    assert told[0][0] == 0
    assert told[-1][0] == told[-1][1] == 6
    assert "quiet" in told[-1][2]


def test_sessions_are_closed():
    runtime = FakeRuntime()
    fake(runtime=runtime)
    assert len(runtime.sessions) == 2
    assert all(session.closed for session in runtime.sessions)


def test_models_beyond_the_memory_are_loaded_for_each_visit():
    class SmallDevice(FakeDevice):
        def fingerprint(self):
            return replace(super().fingerprint(), memory_bytes=12 * len(b"0.01"))

    runtime = FakeRuntime()
    fake(runtime=runtime, device=SmallDevice())
    assert sorted(session.spin_ms for session in runtime.sessions) == [0.01, 0.02, 0.02, 0.02]
    assert all(session.closed for session in runtime.sessions)


# What goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0])
def test_times_that_cannot_be_are_refused(value):
    def times(n):
        spans = np.full(n, 1e-6)
        spans[-1] = value if n > 1 else 1e-6
        return spans

    with pytest.raises(MeasurementError, match="a: run times must be finite and positive"):
        fake(FAST[:1], FakeRuntime(times))


def test_a_clock_that_jumps_is_noticed():
    with pytest.raises(MeasurementError, match=r"run times add up to .* did the clock jump"):
        fake(FAST[:1], FakeRuntime(lambda n: np.full(n, 1e6)))


def test_one_jump_of_the_clock_costs_one_visit():
    calls = iter(range(100))

    def times(n):
        return np.full(n, 1e6 if n > 1 and next(calls) == 1 else 1e-6)

    m = fake(FAST[:1], FakeRuntime(times))["a"]
    assert len(m.visits) == 3
    assert m.interference.clock_jumps == 1
    assert m.p99_ms < 1e-5


@pytest.mark.parametrize("error", [DeviceError("device 'board': is gone"), MeasurementError("the runtime died")])
def test_a_device_that_vanishes_while_measuring_loses_no_visit(tmp_path, error):
    journal = tmp_path / "journal.jsonl"
    calls = iter(range(100))

    def times(n):
        if n > 1 and next(calls) == 3:
            raise error
        return np.full(n, 1e-6)

    with pytest.raises(type(error), match=r"the 3 visits until then are kept in .*journal.jsonl: the same command"):
        fake(runtime=FakeRuntime(times), journal=journal)
    found = fake(runtime=FakeRuntime(lambda n: np.full(n, 1e-6)), journal=journal)
    assert [len(m.visits) for m in found.values()] == [3, 3]
    assert journal.read_bytes().count(b"\n") == 1 + 6


def test_a_model_that_does_not_load_is_named():
    with pytest.raises(MeasurementError, match="bad one: it does not load"):
        fake([WorkItem("bad one", b"broken")])


def test_nothing_to_measure_and_equal_names_are_refused():
    with pytest.raises(MeasurementError, match="nothing to measure"):
        fake([])
    with pytest.raises(MeasurementError, match="unique"):
        fake([FAST[0], FAST[0]])


def test_more_threads_than_cores_are_refused():
    with pytest.raises(MeasurementError, match="1000 threads need 1000 cores"):
        fake(device=LocalDevice(), threads=1000)


def test_a_device_that_somebody_else_measures_on_is_not_shared():
    with pytest.raises(DeviceError, match="is measuring on it"):
        fake(device=FakeDevice(locked=True))


def test_cold_is_for_the_local_device():
    with pytest.raises(MeasurementError, match="local device only"):
        fake(protocol=replace(TINY, regime=Regime.COLD))


def test_contradictory_protocols_are_refused():
    with pytest.raises(MeasurementError, match="min_rounds 5 <= rounds 3"):
        Protocol(min_rounds=5, rounds=3)
    with pytest.raises(MeasurementError, match="repeats 0"):
        Protocol(repeats=0)
    with pytest.raises(MeasurementError, match="time_limit_s"):
        Protocol(time_limit_s=-1)
    with pytest.raises(FormatError, match="protocol"):
        Protocol.from_json({"regime": "warm", "statistic": "median"})
    assert Protocol.from_json(Protocol.thorough().to_json()) == Protocol.thorough()


def test_a_high_quantile_gets_enough_runs_a_visit():
    assert Protocol.default().for_statistic("p99").repeats == 200
    assert Protocol.default().for_statistic("median").repeats == Protocol.default().repeats


def test_damaged_measurements_are_refused(real):
    good = real[0]["net"].to_json()
    for change in ({"format": 99}, {"visits": []}, {"visits": [{}]}, {"surprise": 1}, {"protocol": {}}):
        with pytest.raises(FormatError):
            Measurement.from_json({**good, **change})
    with pytest.raises(FormatError, match="runtime"):
        Measurement.from_json({k: v for k, v in good.items() if k != "runtime"})


def test_measurements_of_the_first_format_are_still_read():
    specimen = json.loads((Path(__file__).parent / "measurement-1.json").read_text())
    m = Measurement.from_json(specimen)
    assert m.reference_kernel == ""
    assert m.count == sum(len(visit["samples_ms"]) for visit in specimen["visits"] if visit["quiet"])
    assert Measurement.from_json(m.to_json()) == m


# The journal -------------------------------------------------------------------------------------------------------


def test_a_finished_journal_is_not_measured_again(tmp_path):
    journal = tmp_path / "deep" / "journal.jsonl"
    first = fake(journal=journal)
    runtime = FakeRuntime()
    again = fake(runtime=runtime, journal=journal)
    assert runtime.sessions == []
    assert {n: m.visits for n, m in again.items()} == {n: m.visits for n, m in first.items()}
    assert again["a"].batch == 2


def test_only_the_items_that_changed_are_measured_again(tmp_path):
    journal = tmp_path / "journal.jsonl"
    fake(journal=journal)
    runtime = FakeRuntime()
    fake([FAST[0], WorkItem("b", b"0.03"), WorkItem("c", b"0.01")], runtime, journal=journal)
    assert len(runtime.sessions) == 2


def test_a_killed_measurement_loses_the_visit_it_was_in(tmp_path):
    journal = tmp_path / "journal.jsonl"
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from pathlib import Path
from profiling.test_engine import *
fake([WorkItem("a", b"2"), WorkItem("b", b"3")], protocol=replace(TINY, min_rounds=90, rounds=90, max_rounds=90),
     journal=Path({str(journal)!r}))
"""
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        deadline = time.monotonic() + 30
        while not (journal.exists() and journal.read_bytes().count(b"\n") > 5):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    kept = journal.read_bytes().count(b"\n") - 1
    assert kept >= 5
    again = [WorkItem("a", b"2"), WorkItem("b", b"3")]
    found = fake(again, protocol=replace(TINY, min_rounds=1, rounds=1, max_rounds=1), journal=journal)
    assert sum(len(m.visits) for m in found.values()) == kept
    assert [visit.round for visit in found["a"].visits] == list(range(len(found["a"].visits)))


def test_a_cut_off_last_line_is_dropped(tmp_path):
    journal = tmp_path / "journal.jsonl"
    fake(journal=journal)
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-20])
    found = fake(journal=journal)
    assert [len(m.visits) for m in found.values()] == [3, 3]
    assert journal.read_bytes().count(b"\n") == whole.count(b"\n")


def test_a_journal_of_other_conditions_is_refused(tmp_path):
    journal = tmp_path / "journal.jsonl"
    fake(journal=journal)
    with pytest.raises(FormatError, match=r"was begun with runtime_version '1\.0', not '1\.1'"):
        fake(runtime=FakeRuntime(version="1.1"), journal=journal)
    with pytest.raises(FormatError, match="threads 1, not 2"):
        fake(journal=journal, threads=2)


def test_damaged_journals_are_refused_with_the_line(tmp_path):
    journal = tmp_path / "journal.jsonl"
    fake(journal=journal)
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join([*lines[:2], "{", *lines[2:], ""]))
    with pytest.raises(FormatError, match=r"journal\.jsonl:3: is damaged"):
        fake(journal=journal)
    journal.write_text("\n".join([*lines[:2], "{}", ""]))
    with pytest.raises(FormatError, match=r"journal\.jsonl:3: is not a visit"):
        fake(journal=journal)
    journal.write_text("[]\n")
    with pytest.raises(FormatError, match=r"journal\.jsonl:1: is not a measuring journal"):
        fake(journal=journal)


def test_two_processes_do_not_share_a_journal(tmp_path):
    journal = tmp_path / "journal.jsonl"

    def times(n):
        with pytest.raises(MeasurementError, match="another process is measuring into this journal"):
            fake(journal=journal)
        return np.full(n, 1e-6)

    fake(runtime=FakeRuntime(times), journal=journal)


def test_a_journal_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="a file is in the way"):
        fake(journal=tmp_path / "file" / "journal.jsonl")
    (tmp_path / "journal.jsonl").mkdir()
    with pytest.raises(StorageError, match="cannot be opened"):
        fake(journal=tmp_path / "journal.jsonl")


def test_measuring_imports_no_torch():
    code = (
        "import sys, nas_edge.profiling, nas_edge.devices, nas_edge.runtimes.onnx_runtime as r\n"
        "r.OnnxRuntime().version(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
