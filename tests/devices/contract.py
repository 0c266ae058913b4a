"""What every device must do. Subclass `DeviceContract` and give it a `device` fixture."""

from __future__ import annotations

import re

import pytest

from nas_edge.devices import Device, DeviceFingerprint, DeviceState
from nas_edge.errors import DeviceError


class DeviceContract:
    """A subclass provides the fixture `device`: one that can be reached and has a POSIX userland."""

    @pytest.fixture
    def device(self) -> Device:
        raise pytest.UsageError("a subclass of DeviceContract provides the fixture 'device'")

    def test_the_fingerprint_is_the_same_each_time_and_survives_json(self, device):
        first = device.fingerprint()
        assert device.fingerprint() == first
        assert DeviceFingerprint.from_json(first.to_json()) == first
        assert first.cpu
        assert first.cores >= 1

    def test_the_slug_is_a_directory_name(self, device):
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", device.fingerprint().slug)

    def test_the_state_has_a_date_and_survives_json(self, device):
        state = device.state()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", state.date)
        assert DeviceState.from_json(state.to_json()) == state

    def test_files_go_there_and_come_back(self, device, tmp_path):
        (tmp_path / "there").write_bytes(b"\0\xff" * 1000)
        device.push(tmp_path / "there", "deep/down/file")
        device.pull("deep/down/file", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == b"\0\xff" * 1000

    def test_commands_see_pushed_files_and_no_shell(self, device, tmp_path):
        (tmp_path / "there").write_text("hello $HOME")
        device.push(tmp_path / "there", "hello.txt")
        done = device.run(["cat", "hello.txt"], timeout_s=20)
        assert (done.status, done.stdout, done.stderr) == (0, "hello $HOME", "")
        assert device.run(["echo", "$HOME; ls"], timeout_s=20).stdout.strip() == "$HOME; ls"

    def test_a_failing_command_is_a_result(self, device):
        done = device.run(["ls", "no such file"], timeout_s=20)
        assert done.status != 0
        assert "no such file" in done.stderr

    def test_a_command_that_hangs_is_stopped(self, device):
        with pytest.raises(DeviceError, match=r"sleep did not finish within 0\.2 s"):
            device.run(["sleep", "20"], timeout_s=0.2)

    def test_a_missing_file_is_named_and_nothing_is_left_behind(self, device, tmp_path):
        with pytest.raises(DeviceError, match="nowhere"):
            device.pull("nowhere", tmp_path / "back")
        with pytest.raises(DeviceError, match="absent"):
            device.push(tmp_path / "absent", "there")
        assert list(tmp_path.iterdir()) == []

    def test_paths_stay_inside_the_working_directory(self, device, tmp_path):
        (tmp_path / "file").touch()
        for remote in ("../outside", "/etc/outside", ""):
            with pytest.raises(DeviceError, match="inside"):
                device.push(tmp_path / "file", remote)

    def test_only_one_has_the_lock(self, device):
        with device.lock(), pytest.raises(DeviceError, match="is measuring on it"), device.lock(timeout_s=0.2):
            pass
        with device.lock():
            pass

    def test_errors_name_the_device(self, device):
        with pytest.raises(DeviceError, match=re.escape(device.name)):
            device.run(["sleep", "20"], timeout_s=0.1)
