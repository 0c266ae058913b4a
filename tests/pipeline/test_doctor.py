"""`targets doctor` and `targets add`, on this machine, over ssh, and on devices that lack something."""

import json
import sys
from pathlib import Path

import pytest

from nas_edge.cli.main import invoke
from nas_edge.devices import DeviceFingerprint, DeviceState, LocalDevice
from nas_edge.errors import ConfigError, DeviceError, UnknownNameError
from nas_edge.pipeline.devices import doctor as room
from nas_edge.pipeline.devices.adding import Wishes, add_target
from nas_edge.pipeline.devices.doctor import doctor
from nas_edge.pipeline.devices.targets import load_target
from tests.devices.sshd import *  # noqa: F403 - fixtures


@pytest.fixture(autouse=True)
def own_lock(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))


@pytest.fixture
def there(stand, ssh_home):
    """A target over ssh whose Python has everything."""
    return add_target("there", Wishes(host=ssh_home.address, python=sys.executable, directory=str(ssh_home.tmp)))


def verdicts(report):
    return {check.name: check.verdict for check in report.checks}


def test_this_machine_is_ready(stand):
    report = doctor("local")
    found = verdicts(report)
    assert list(found) == ["target", "reached", "machine", "room", "lock", "runtime", "network", "quiet", "table"]
    assert "MISSING" not in found.values()
    assert report.exit_code == 0
    assert report.lines()[-1] == "local: ready to be measured on"


def test_a_device_over_ssh_is_ready_and_left_clean(there, ssh_home):
    report = doctor("there")
    assert report.exit_code == 0, report.lines()
    by_name = {check.name: check.text for check in report.checks}
    assert ssh_home.address in by_name["reached"]
    assert sys.executable in by_name["runtime"]
    assert list(ssh_home.tmp.iterdir()) == []


def test_what_is_missing_ends_the_list_with_what_mends_it(stand, ssh_home, capsys):
    add_target("bare", Wishes(host=ssh_home.address, python="/bin/false", directory=str(ssh_home.tmp)))
    assert invoke(["targets", "doctor", "bare", "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert not data["ready"]
    assert [check["name"] for check in data["checks"]][-1] == "runtime"
    assert "has ended with status 1" in data["checks"][-1]["text"]
    assert list(ssh_home.tmp.iterdir()) == []


def test_a_host_that_is_not_known_is_told_with_the_line_that_accepts_it(stand, ssh_home):
    ssh_home.known("# nobody\n")
    report = doctor("local", host=ssh_home.address)
    assert report.exit_code == 1
    assert report.checks[-1].name == "reached"
    assert report.checks[-1].mend.startswith("to accept it compare the fingerprint in: ssh -p ")


def test_a_target_that_nobody_reaches_is_told_how_to_add_one(stand):
    report = doctor("board")
    assert report.checks[-1].mend == "nas-edge targets add my-board --like board --host user@addr"
    assert report.lines()[-1] == "board: cannot be measured on yet"


class Patient(LocalDevice):
    """This machine, with other news of itself."""

    found = DeviceFingerprint("Cortex-A72", "0x41", 8, 0xD08, cores=4)
    now = DeviceState("2026-01-01T00:00:00+00:00")
    free = "1000000"

    def fingerprint(self):
        return self.found

    def state(self):
        return self.now

    def run(self, argv, timeout_s):
        done = super().run(argv, timeout_s)
        return type(done)(done.status, f"x\n/dev/a 1 1 {self.free} 1% /\n", "") if argv[0] == "df" else done


@pytest.fixture
def patient(stand, monkeypatch):
    device = Patient()
    monkeypatch.setattr(room, "open_device", lambda address: device)
    return device


def check(name):
    return next(c for c in doctor("local").checks if c.name == name)


def test_what_only_makes_figures_worse_is_a_note_with_what_mends_it(patient):
    patient.now = DeviceState("2026-01-01", load=3.0, governor="ondemand", throttled=True)
    found = check("quiet")
    assert found.verdict == "note"
    for text in ("holds its clock back", "the governor is ondemand", "3 processes run on 4 cores"):
        assert text in found.text
    assert "echo performance | sudo tee" in found.mend
    assert doctor("local").exit_code == 0


def test_an_emulated_machine_is_called_one(patient):
    patient.found = DeviceFingerprint("Cortex-A72", "0x41", emulator="qemu")
    assert check("machine").verdict == "note"
    assert "measured-emulated" in check("machine").text


def test_a_full_device_is_not_ready(patient):
    patient.free = "1000"
    found = check("room")
    assert (found.verdict, doctor("local").exit_code) == ("MISSING", 1)
    assert "another directory" in found.mend


def test_a_busy_device_says_who_has_it(patient):
    with LocalDevice().lock():
        assert "is measuring on it" in check("lock").text


def test_a_network_that_computes_nonsense_is_found(patient, monkeypatch):
    class Session:
        def run(self, inputs):
            return {"output": -inputs["input"]}

        def close(self):
            pass

    class Runtime:
        def version(self):
            return "0"

        def prepare(self, *_):
            return Session()

    monkeypatch.setattr("nas_edge.runtimes.get_runtime", lambda name: Runtime())
    assert "outputs are wrong by" in check("network").text


def test_an_added_target_takes_all_else_from_another(stand):
    add_target("mine", Wishes(like="board", host="pi@10.0.0.5", threads=2))
    target = load_target("mine")
    assert (target.device.kind, target.device.address) == ("ssh", "pi@10.0.0.5")
    assert (target.runtime, target.threads, target.description) == (
        "onnxruntime",
        2,
        "a board for tests at pi@10.0.0.5",
    )
    add_target("phone", Wishes(serial="R58M", description="mine"))
    assert load_target("phone").device.kind == "adb"
    assert load_target("phone").description == "mine"


def test_targets_that_cannot_be_are_not_written(stand):
    for name in ("local", "../evil", "a b", "", "-x", "jetson"):
        with pytest.raises(ConfigError):
            add_target(name, Wishes(host="pi@board"))
    with pytest.raises(ConfigError, match="nothing says how the device is reached"):
        add_target("mine", Wishes())
    with pytest.raises(DeviceError, match="is not an address"):
        add_target("mine", Wishes(host="pi@@board"))
    with pytest.raises(UnknownNameError, match="runtime 'fast'"):
        add_target("mine", Wishes(host="pi@board", runtime="fast"))
    with pytest.raises(UnknownNameError, match="target 'x'"):
        add_target("mine", Wishes(host="pi@board", like="x"))
    assert not Path("targets").exists()


def test_a_target_is_not_overwritten_unasked(stand, capsys):
    assert invoke(["targets", "add", "mine", "--host", "pi@board"]) == 0
    assert "next       nas-edge targets doctor mine" in capsys.readouterr().out
    assert invoke(["targets", "add", "mine", "--host", "pi@other"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert invoke(["targets", "add", "mine", "--host", "pi@other", "--overwrite"]) == 0
    assert load_target("mine").device.address == "pi@other"
    assert invoke(["targets", "add", "mine", "--host", "pi@b", "--precision", "fp7", "--overwrite"]) == 2
    assert load_target("mine").device.address == "pi@other"
