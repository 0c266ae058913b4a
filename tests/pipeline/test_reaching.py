"""Targets on devices at other addresses, and what is known of them from then on."""

from pathlib import Path

import pytest

from nas_edge.devices import DeviceFingerprint
from nas_edge.errors import ConfigError, DeviceError
from nas_edge.latency import LatencyTable, TableHeader, write_table
from nas_edge.origin import Origin, OriginKind
from nas_edge.pipeline.devices.bench import can_be_reached, open_bench
from nas_edge.pipeline.devices.known import KnownDevice, address_slug, recall, remember
from nas_edge.pipeline.devices.reaching import at_device, open_device
from nas_edge.pipeline.devices.targets import DeviceAddress, Target, load_target
from nas_edge.pipeline.tables.finding import load_table_for

PI = DeviceFingerprint("Cortex-A72", "0x41", 8, 0xD08, cores=4, machine_id="01234567")


def target(kind="none", address="", **more) -> Target:
    device = DeviceAddress(kind=kind, address=address)
    settings = {"name": "board", "runtime": "onnxruntime"} | more
    return Target(format=1, path=Path("board.yaml"), description="a board", device=device, **settings)


def table_at(path: Path, kind=OriginKind.MEASURED, **more) -> Path:
    write_table(LatencyTable(TableHeader("board", "onnxruntime", origin=Origin(kind, "m"), **more), {}), path)
    return path


def test_a_host_takes_the_place_of_what_the_target_says():
    found = at_device(target(), "pi@10.0.0.5:2222", None)
    assert (found.name, found.device.kind, found.device.address) == ("board", "ssh", "pi@10.0.0.5:2222")
    assert can_be_reached(found)
    assert at_device(target(), None, "R58M").device.kind == "adb"
    assert at_device(target(), None, None) == target()


def test_this_machine_elsewhere_is_no_longer_called_local():
    found = at_device(load_target("local"), "pi@10.0.0.5:2222", None)
    assert found.name == "pi-10.0.0.5-2222"
    assert found.runtime == "onnxruntime"


def test_both_ways_at_once_and_no_address_are_refused():
    with pytest.raises(ConfigError, match="one of them"):
        at_device(target(), "pi@board", "R58M")
    with pytest.raises(DeviceError, match="is not an address"):
        at_device(target(), "pi@@board", None)


@pytest.mark.parametrize(
    ("address", "slug"), [("pi@b:1", "pi-b-1"), ("../../x", "x"), ("[fe80::1]", "fe80-1"), ("@", "device")]
)
def test_addresses_as_names(address, slug):
    assert address_slug(address) == slug


def test_targets_that_cannot_be_reached_say_what_to_do():
    with pytest.raises(DeviceError, match=r"add --host user@addr, or keep it: nas-edge targets add"):
        open_bench(target())
    with pytest.raises(DeviceError, match="of kind local, ssh, adb, not 'serial'"):
        open_bench(target("serial", "/dev/ttyUSB0"))
    with pytest.raises(DeviceError, match="runs no commands"):
        open_device(DeviceAddress(kind="emulator", address="x"))


def test_devices_are_remembered_and_damaged_notes_are_not_believed(stand):
    device = DeviceAddress(kind="ssh", address="pi@board")
    assert recall(device) is None
    known = KnownDevice(PI, {"onnxruntime": "1.20"})
    remember(device, known)
    assert recall(device) == known
    next((Path(stand).parent / "cache").rglob("ssh-*.json")).write_text("{}")
    assert recall(device) is None


def test_a_device_that_was_reached_has_the_table_of_its_cpu_before_what_was_published(stand):
    board = target("ssh", "pi@board", name="plank", table="plank/published")
    table_at(Path("latency_tables/plank/published"))
    assert load_table_for(board).path == Path("latency_tables/plank/published").resolve()
    remember(board.device, KnownDevice(PI, {"onnxruntime": "1.20"}))
    assert load_table_for(board).path == Path("latency_tables/plank/published").resolve()
    of_cpu = table_at(Path(f"latency_tables/{PI.slug}/onnxruntime-fp32"), runtime_version="1.20")
    found = load_table_for(board)
    assert (found.path, found.own, found.notes) == (of_cpu.resolve(), True, ())
    of_board = table_at(Path("latency_tables/plank/onnxruntime-fp32"), runtime_version="1.19")
    found = load_table_for(board)
    assert found.path == of_board.resolve()
    assert found.notes == ("the table is of onnxruntime 1.19, 1.20 is installed",)


def test_a_prior_is_no_table_of_a_device_that_can_be_reached(stand):
    write_table(
        LatencyTable(TableHeader("board", "onnxruntime", origin=Origin(OriginKind.MODELLED, source="a prior")), {}),
        Path("latency_tables/board/prior"),
    )
    assert load_table_for(target(table="board/prior")).own
    assert not load_table_for(target("ssh", "pi@board", table="board/prior")).own
