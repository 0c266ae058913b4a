"""A search that is cut goes on, and comes to the same result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas_edge.errors import ConfigError, DeviceError, FormatError
from nas_edge.pipeline.searching.flow import search_flow
from nas_edge.pipeline.searching.request import SearchRequest, TargetBudget
from nas_edge.pipeline.searching.state import unfinished_request
from tests.stand import FakeBench

REQUEST = SearchRequest(target="board", bundle="tiny", latency_ms=2.2, evaluations=2000, verify=True, out=Path("mine"))


class Failing(FakeBench):
    """A device that vanishes after some sittings."""

    sittings = 0
    until = 99
    error: type[BaseException] = DeviceError

    def measure(self, *args, **kwargs):
        if self.sittings >= self.until:
            raise self.error("the device is gone")
        self.sittings += 1
        return super().measure(*args, **kwargs)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Failing:
    device = Failing(factor=1.15)
    monkeypatch.setattr("nas_edge.pipeline.devices.bench.open_bench", lambda target, *_: device)
    return device


def without_times(path: Path) -> dict[str, object]:
    data = json.loads((path / "result.json").read_text())
    return {key: value for key, value in data.items() if key not in ("run", "wall_s")}


@pytest.mark.parametrize("until", [1, 2])
def test_what_was_measured_before_a_device_vanished_is_not_measured_again(
    stand: Path, failing: Failing, until: int
) -> None:
    search_flow(REQUEST)
    expected, sittings = without_times(Path("mine")), failing.sittings
    assert sittings > until
    failing.sittings, failing.until = 0, until
    again = SearchRequest(**{**REQUEST.__dict__, "out": Path("again")})
    with pytest.raises(DeviceError, match="nothing measured is lost: nas-edge search --resume again"):
        search_flow(again)
    assert not Path("again").exists()
    failing.sittings, failing.until = 0, 99
    search_flow(unfinished_request(Path("again")))
    assert failing.sittings == sittings - until
    assert without_times(Path("again")) == expected
    assert not Path("again.unfinished").exists()


def test_interrupted_while_measuring_it_gives_the_best_so_far_and_can_be_resumed(stand: Path, failing: Failing) -> None:
    failing.until, failing.error = 1, KeyboardInterrupt
    report = search_flow(SearchRequest(**{**REQUEST.__dict__, "latency_ms": 1.9}))
    assert report.exit_code == 130
    assert report.lines()[0].startswith("UNVERIFIED")
    assert report.latency.high <= 1.9
    assert "note       interrupted: the best so far; to go on: nas-edge search --resume mine" in report.lines()
    assert Path("mine.unfinished").exists()
    failing.until = 99
    assert search_flow(unfinished_request(Path("mine.unfinished"))).run == Path("mine")
    assert "interrupted" not in without_times(Path("mine"))


def test_a_search_that_found_nothing_leaves_nothing(stand: Path) -> None:
    with pytest.raises(DeviceError):
        search_flow(REQUEST)  # nobody knows how this board is reached
    assert not list(Path().iterdir())


def test_an_interrupted_search_gives_the_best_so_far_and_is_replaced_when_resumed(
    stand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = SearchRequest(**{**REQUEST.__dict__, "verify": False, "strategy": "random", "evaluations": 4000})
    from nas_edge.search.strategies.random import RandomSearch

    told = RandomSearch.tell
    calls = iter(range(100))

    def interrupted(self, *args):
        if next(calls) == 1:
            raise KeyboardInterrupt
        return told(self, *args)

    monkeypatch.setattr(RandomSearch, "tell", interrupted)
    report = search_flow(request)
    assert report.interrupted
    assert report.exit_code == 130
    assert any("--resume mine" in note for note in report.notes)
    monkeypatch.setattr(RandomSearch, "tell", told)
    whole = search_flow(unfinished_request(Path("mine")))
    assert not whole.interrupted
    assert whole.evaluations > report.evaluations
    assert json.loads(Path("mine/result.json").read_text()).get("interrupted") is None


def test_the_same_seed_gives_the_same_bytes_apart_from_times_and_paths(stand: Path) -> None:
    texts = []
    for name in ("a", "b"):
        search_flow(SearchRequest(**{**REQUEST.__dict__, "verify": False, "out": Path(name), "seed": 3}))
        data = json.loads(Path(name, "result.json").read_text())
        data["wall_s"] = data["run"] = None
        texts.append(json.dumps(data))
        assert Path(name, "pareto.csv").read_bytes() == Path("a", "pareto.csv").read_bytes()
        assert Path(name, "arch.json").read_bytes() == Path("a", "arch.json").read_bytes()
    assert texts[0] == texts[1]


def test_a_request_survives_its_file(tmp_path: Path) -> None:
    request = SearchRequest(
        others=(TargetBudget("phone", 3.0, host="me@board"),), limits=(("flops", "<=", 3.0),), pareto=("a", "b"),
        precision=("fp32", "int8"), resolutions=(96, 128), options={"population": 20}, out=tmp_path, fix=("k=3",),
    )  # fmt: skip
    assert SearchRequest.from_json(json.loads(json.dumps(request.to_json())), "here") == request
    with pytest.raises(FormatError, match="is not the request of a search"):
        SearchRequest.from_json({"target": 3}, "here")


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no unfinished search"):
        unfinished_request(tmp_path / "run")


def interrupted_at(monkeypatch: pytest.MonkeyPatch, batch: int, request: SearchRequest) -> None:
    """Search until Ctrl-C comes with a batch of evaluations."""
    from nas_edge.search.strategies.random import RandomSearch

    calls = iter(range(100))

    def interrupted(self, *args):
        if next(calls) == batch:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RandomSearch, "tell", interrupted)
        assert search_flow(request).interrupted


BY_CHANCE = SearchRequest(**{**REQUEST.__dict__, "verify": False, "strategy": "random", "evaluations": 4000})


def test_what_was_evaluated_under_another_table_is_not_taken_for_this_one_s(
    stand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search_flow(SearchRequest(**{**BY_CHANCE.__dict__, "out": Path("whole"), "macs": 3e5}))
    expected = without_times(Path("whole"))
    interrupted_at(monkeypatch, 1, BY_CHANCE)
    report = search_flow(SearchRequest(**{**BY_CHANCE.__dict__, "macs": 3e5}))
    assert any("of other options, tables or predictors: searched from the start" in note for note in report.notes)
    found = without_times(Path("mine"))
    assert found["arch"] == expected["arch"]
    assert found["accuracy"] == expected["accuracy"]


def test_damaged_evaluations_are_left_out_and_made_again(stand: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted_at(monkeypatch, 1, BY_CHANCE)
    (part,) = Path("mine.unfinished/search").glob("part-*.npz")
    part.write_bytes(part.read_bytes()[:100])
    report = search_flow(unfinished_request(Path("mine")))
    assert not report.interrupted
    assert any("damaged" in note for note in report.notes)
    assert not Path("mine.unfinished").exists()


def test_a_damaged_sitting_does_not_lose_the_others(stand: Path, failing: Failing) -> None:
    failing.until = 2
    with pytest.raises(DeviceError):
        search_flow(REQUEST)
    failing.until = 99
    sitting = Path("mine.unfinished/sitting-000.json")
    kept = sitting.read_text()
    sitting.write_text(kept[:50])
    with pytest.raises(FormatError, match=r"sitting-000\.json"):
        search_flow(unfinished_request(Path("mine")))
    assert Path("mine.unfinished/sitting-001.json").is_file()
    sitting.write_text(kept)
    assert search_flow(unfinished_request(Path("mine"))).verified
