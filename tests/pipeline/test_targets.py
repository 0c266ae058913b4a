"""Targets: every shipped one is valid, and what is wrong with a file is told with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas_edge.errors import ConfigError, FormatError, UnknownNameError
from nas_edge.pipeline.devices.targets import ALIASES, load_target, read_target, target_names

ROOT = Path(__file__).resolve().parents[2]
GOOD = "format: 1\ndescription: a board\nruntime: onnxruntime\ndevice: {kind: ssh, address: me@board}\n"


@pytest.mark.parametrize("path", sorted((ROOT / "targets").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_target_is_valid_and_describes_itself(path: Path) -> None:
    target = read_target(path)
    assert target.name == path.stem
    assert target.description


def test_a_file_of_format_1_is_read(tmp_path: Path) -> None:
    path = tmp_path / "full.yaml"
    path.write_text(
        "format: 1\ndescription: >\n  a microcontroller\n  board\ndevice: {kind: serial, address: /dev/ttyACM0}\n"
        "runtime: mcu\nprecision: int8\nthreads: 1\npower_mode: run\nmemory: {sram: 128KB, flash: 1MB}\n"
        "limits: {arena: 65536}\ntable: stm32f405/mcu-int8\nnotes: none\n"
    )
    target = read_target(path)
    assert target.description == "a microcontroller board"
    assert (target.memory, target.limits) == ({"sram": 131_072, "flash": 2**20}, {"arena": 65_536})
    assert target.reachable


def test_aliases_stand_for_their_targets() -> None:
    assert load_target("jetson").name == ALIASES["jetson"] == "jetson-tx2"


def test_an_unknown_target_is_told_with_near_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown target 'jetsn'; did you mean jetson"):
        load_target("jetsn")


def test_a_target_where_the_user_stands_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "local.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    assert load_target("local").description == "a board"
    assert "jetson-tx2" in target_names()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "wheels: 4\n", r"t\.yaml:5: unknown key 'wheels'"),
        (GOOD + "thread: 4\n", r"t\.yaml:5: unknown key 'thread'; did you mean 'threads'"),
        (GOOD + "threads: many\n", r"t\.yaml:5: threads: .*integer"),
        (GOOD + "precision: fp64\n", r"t\.yaml:5: precision: "),
        (GOOD + "memory: {sram: 3 apples}\n", r"t\.yaml:5: memory\.sram: size '3 apples'"),
        (GOOD + "name: other\n", r"t\.yaml:5: unknown key 'name'"),
        (GOOD.replace("ssh", "telepathy"), r"t\.yaml:4: device\.kind: "),
        (GOOD.replace(", address: me@board", ""), r"t\.yaml:4: device: a device of kind ssh needs an address"),
        (GOOD.replace("runtime: onnxruntime\n", ""), r"t\.yaml:1: lacks the key 'runtime'"),
        (GOOD.replace("format: 1", "format: 2"), r"t\.yaml:1: .*a newer file needs a newer nas-edge"),
        ("- a\n- b\n", r"t\.yaml:1: a target is a mapping"),
        ("a: [1\n", r"t\.yaml:2: is not valid YAML"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_target(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        load_target(str(tmp_path / "none.yaml"))


SHIPPED = (
    "local", "raspberry-pi-4", "raspberry-pi-5", "android-arm64", "samsung-note10", "pixel-1", "intel-i7-8700k",
    "jetson-nano", "jetson-tx2", "jetson-agx-xavier", "jetson-orin-nano", "jetson-agx-orin",
)  # fmt: skip


@pytest.mark.parametrize("name", SHIPPED)
def test_no_shipped_target_is_a_dead_end(name, tmp_path, monkeypatch):
    from nas_edge.pipeline.searching.flow import search_flow
    from nas_edge.pipeline.searching.request import SearchRequest

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert load_target(name).name == name
    report = search_flow(SearchRequest(target=name, latency_ms=50.0, evaluations=200, verify=False))
    assert 0 < json.loads((report.run / "result.json").read_text())["latency_ms"]["predicted"] <= 50
