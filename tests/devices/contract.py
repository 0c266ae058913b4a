"""What every device must do. Subclass `DeviceContract` and give it a `device` fixture."""

from __future__ import annotations

import hashlib
import os
import re
import time

import pytest

from nas_edge.devices import Device, DeviceFingerprint, DeviceState
from nas_edge.errors import DeviceError

ODD_NAMES = (
    "with space", "quote's", 'double"quote', ";$(touch pwned)", "`id`", "*?[a]", "new\nline", "-rf", "--help", "ünï ☃",
    "\\back\\slash", "$HOME", "%s%n", "~root", "a,b", "tab\there", "!bang", "#hash", "a&b|c>d<e",
)  # fmt: skip


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

    def test_a_command_that_hangs_is_killed_with_all_that_it_started(self, device, tmp_path):
        marker = tmp_path / "alive"
        script = f"(while sleep 0.05; do date > {marker}; done) & wait"
        with pytest.raises(DeviceError, match="did not finish"):
            device.run(["sh", "-c", script], timeout_s=0.6)
        time.sleep(0.4)
        marker.unlink()
        time.sleep(0.4)
        assert not marker.exists()

    def test_odd_names_are_names_and_nothing_else(self, device, tmp_path):
        for name in ODD_NAMES:
            (tmp_path / "there").write_text(name)
            device.push(tmp_path / "there", f"odd/{name}")
        for name in ODD_NAMES[::3]:
            device.pull(f"odd/{name}", tmp_path / "back")
            assert (tmp_path / "back").read_text() == name
        assert device.run(["cat", *(f"odd/{name}" for name in ODD_NAMES)], 20).stdout == "".join(ODD_NAMES)
        assert device.run(["printf", "%s|", *ODD_NAMES], 20).stdout == "|".join((*ODD_NAMES, ""))
        assert device.run(["find", ".", "-name", "pwned"], 20).stdout == ""

    def test_large_files_go_there_and_come_back_whole(self, device, tmp_path):
        data = os.urandom(1 << 20) * 24
        (tmp_path / "there").write_bytes(data)
        device.push(tmp_path / "there", "large.bin")
        told = device.run(["sha256sum", "large.bin"], 30).stdout.split()[0]
        assert told == hashlib.sha256(data).hexdigest()
        device.pull("large.bin", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == data

    def test_an_empty_file_stays_one(self, device, tmp_path):
        (tmp_path / "there").touch()
        device.push(tmp_path / "there", "empty")
        device.pull("empty", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == b""

    def test_a_file_is_replaced(self, device, tmp_path):
        for text in ("a longer first version", "second"):
            (tmp_path / "there").write_text(text)
            device.push(tmp_path / "there", "file")
        assert device.run(["cat", "file"], 20).stdout == "second"

    def test_exit_codes_are_told(self, device):
        for code in (0, 1, 7, 126, 255):
            assert device.run(["sh", "-c", f"exit {code}"], 20).status == code

    def test_output_of_any_size_and_kind_comes_back_with_the_errors_apart(self, device):
        done = device.run(["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; echo 'oh \\303' >&2; exit 4"], 30)
        assert (done.status, len(done.stdout)) == (4, 3_000_000)
        assert done.stderr.startswith("oh")

    def test_commands_have_no_input(self, device):
        assert device.run(["cat"], 20).stdout == ""

    def test_a_command_that_is_not_there_is_named(self, device):
        with pytest.raises(DeviceError, match=r"no-such-command cannot be run \(No such"):
            device.run(["no-such-command", "x"], 20)
        with pytest.raises(DeviceError, match="empty command"):
            device.run([], 20)
        with pytest.raises(DeviceError, match=r"null|zero"):
            device.run(["echo", "a\0b"], 20)

    def test_a_command_is_talked_with_line_by_line(self, device):
        process = device.start(["sh", "-c", 'while read -r line; do echo "got $line"; done; echo done'])
        for text in ("one", "$(two)", "  three"):
            process.send(text)
            assert process.receive(20) == f"got {text.strip()}"
        process.close()
        process.close()

    def test_a_command_that_ends_while_it_is_talked_with_says_how(self, device):
        process = device.start(["sh", "-c", "read -r line; echo why not >&2; exit 3"])
        process.send("go")
        with pytest.raises(DeviceError, match="ended with status 3: why not"):
            process.receive(20)
        process.close()

    def test_a_silent_command_is_given_up_and_killed(self, device, tmp_path):
        process = device.start(["sh", "-c", f"echo $$ > {tmp_path}/pid; echo up; exec sleep 60 <&-"])
        assert process.receive(20) == "up"
        with pytest.raises(DeviceError, match=r"did not answer within 0\.2 s"):
            process.receive(0.2)
        pid = (tmp_path / "pid").read_text().strip()
        process.close()
        for _ in range(50):
            if device.run(["sh", "-c", f"grep -qa sleep /proc/{pid}/cmdline 2>/dev/null || echo gone"], 20).stdout:
                return
            time.sleep(0.1)
        pytest.fail("it still runs")

    def test_a_missing_file_is_named_and_nothing_is_left_behind(self, device, tmp_path):
        with pytest.raises(DeviceError, match="nowhere"):
            device.pull("nowhere", tmp_path / "back")
        with pytest.raises(DeviceError, match="absent"):
            device.push(tmp_path / "absent", "there")
        assert list(tmp_path.iterdir()) == []

    def test_paths_stay_inside_the_working_directory(self, device, tmp_path):
        (tmp_path / "file").touch()
        for remote in ("../outside", "/etc/outside", "", ".", "a/../../b", "a\0b"):
            with pytest.raises(DeviceError, match="inside"):
                device.push(tmp_path / "file", remote)

    def test_only_one_has_the_lock(self, device):
        with device.lock(), pytest.raises(DeviceError, match="is measuring on it"), device.lock(timeout_s=0.2):
            pass
        with device.lock():
            pass

    def test_nothing_is_left_when_it_is_closed(self, device, tmp_path):
        (tmp_path / "file").touch()
        device.push(tmp_path / "file", "x")
        where = device.run(["pwd"], 20).stdout.strip()
        assert os.path.isdir(where)
        device.close()
        device.close()
        assert not os.path.exists(where)

    def test_errors_name_the_device(self, device):
        with pytest.raises(DeviceError, match=re.escape(device.name)):
            device.run(["sleep", "20"], timeout_s=0.1)
