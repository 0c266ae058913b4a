"""The local device, what it says of itself, and slugs."""

import os

import pytest

from nas_edge.devices import DeviceFingerprint, DeviceState, LocalDevice, cpu_slug
from nas_edge.errors import DeviceError, FormatError

from .contract import DeviceContract


@pytest.fixture(autouse=True)
def own_lock(tmp_path_factory, monkeypatch):
    """A lock of the test's own: somebody may be measuring on this machine."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))


class TestLocalDevice(DeviceContract):
    @pytest.fixture
    def device(self):
        return LocalDevice()


def test_the_lock_names_who_holds_it():
    with LocalDevice().lock(), pytest.raises(DeviceError, match=f"process {os.getpid()} is measuring"):
        LocalDevice().lock().__enter__()


def test_a_given_directory_is_used(tmp_path):
    device = LocalDevice(tmp_path / "work")
    assert device.run(["pwd"], 20).stdout.strip() == str(tmp_path / "work")


def test_a_command_that_is_not_there_is_named():
    with pytest.raises(DeviceError, match=r"no-such-command cannot be run \(No such file"):
        LocalDevice().run(["no-such-command"], 20)


@pytest.mark.parametrize(
    ("vendor", "cpu", "family", "model", "slug"),
    [
        ("AuthenticAMD", "AMD EPYC", 26, 2, "cpu-amd-epyc-f26m2"),
        ("AuthenticAMD", "AMD Ryzen 9 7950X 16-Core Processor", 25, 97, "cpu-amd-ryzen-9-7950x-f25m97"),
        ("GenuineIntel", "Intel(R) Xeon(R) CPU @ 2.20GHz", 6, 79, "cpu-intel-xeon-f6m79"),
        ("GenuineIntel", "Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz", 6, 142, "cpu-intel-core-i7-8550u-f6m142"),
        ("0x41", "Raspberry Pi 4 Model B Rev 1.4", 8, 3336, "cpu-arm-raspberry-pi-4-f8m3336"),
        ("", "", 0, 0, "cpu-unknown-f0m0"),
    ],
)
def test_slugs_of_known_cpus(vendor, cpu, family, model, slug):
    assert cpu_slug(vendor, cpu, family, model) == slug


def test_two_machines_of_a_kind_share_the_slug_but_are_not_the_same_machine():
    a = DeviceFingerprint("AMD EPYC", "AuthenticAMD", 26, 2, cores=2, memory_bytes=2**34, machine_id="01234567")
    b = DeviceFingerprint("AMD EPYC", "AuthenticAMD", 26, 2, cores=2, memory_bytes=2**34, machine_id="89abcdef")
    assert a.slug == b.slug
    assert a.machine != b.machine
    assert a.machine == "AMD EPYC (cpu-amd-epyc-f26m2) 2 cores 16 GB #01234567"


def test_damaged_fingerprints_and_states_are_refused():
    with pytest.raises(FormatError, match="'cores' = 'two'"):
        DeviceFingerprint.from_json({"cpu": "x", "cores": "two"})
    with pytest.raises(FormatError, match="'cpu' is missing"):
        DeviceFingerprint.from_json({})
    with pytest.raises(FormatError, match="device state"):
        DeviceState.from_json({"load": 1.0})
