"""Devices over ssh, held to the contract by a real OpenSSH server on loopback."""

import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nas_edge.devices.ssh import parse_address, ssh_device
from nas_edge.errors import DeviceError, DeviceLostError, MissingExtraError

from .contract import DeviceContract
from .cutting import CutContract, CuttingProxy
from .sshd import *  # noqa: F403 - fixtures
from .sshd import make_key


def reach(server, tmp_path, port=None, **options):
    user = server.address.split("@")[0]
    settings = {"lock": str(tmp_path / ".lock"), "patience_s": 5.0, "grace_s": 3.0} | options
    return ssh_device(f"{user}@127.0.0.1:{port or server.port}", **settings)


def gone(folder):
    """Whether a directory is empty within a few seconds."""
    for _ in range(120):
        if not list(folder.iterdir()):
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def device(ssh_home, tmp_path):
    device = reach(ssh_home, tmp_path)
    yield device
    device.close()
    assert gone(ssh_home.tmp)


class TestSshDevice(DeviceContract):
    @pytest.fixture(scope="class")
    def device(self, sshd):
        """One for all: a connection is half a second."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOME", str(sshd.home))
            device = reach(sshd, sshd.root)
            yield device
            device.close()
        assert gone(sshd.tmp)


class TestCutConnections(CutContract):
    @pytest.fixture
    def proxy(self, ssh_home):
        proxy = CuttingProxy(ssh_home.port)
        key = " ".join((ssh_home.root / "host_key.pub").read_text().split()[:2])
        ssh_home.known(f"[127.0.0.1]:{proxy.port} {key}\n[127.0.0.1]:{ssh_home.port} {key}\n")
        yield proxy
        proxy.close()
        assert gone(ssh_home.tmp)

    @pytest.fixture
    def far(self, ssh_home, proxy):
        device = reach(ssh_home, ssh_home.tmp, proxy.port, lock=str(ssh_home.tmp / "nas-edge.lock"))
        yield device
        device.close()

    @pytest.fixture
    def other(self, ssh_home, far):
        device = reach(ssh_home, ssh_home.tmp, lock=str(ssh_home.tmp / "nas-edge.lock"))
        yield device
        device.close()


def test_killed_sessions_are_begun_anew(device, ssh_home, tmp_path):
    (tmp_path / "there").write_text("kept")
    device.push(tmp_path / "there", "file")
    assert ssh_home.cut() == 1
    time.sleep(0.2)
    assert device.run(["cat", "file"], 20).stdout == "kept"


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("pi@board.local", ("pi", "board.local", None)),
        ("board", (None, "board", None)),
        ("pi@10.0.0.5:2222", ("pi", "10.0.0.5", 2222)),
        ("pi@[fe80::1%eth0]:22", ("pi", "fe80::1%eth0", 22)),
    ],
)
def test_addresses(address, parts):
    assert parse_address(address) == parts


@pytest.mark.parametrize(
    "address", ["", "pi@", "pi@host:0", "pi@host:99999", "a b", "-oProxyCommand=x", "pi@-x", "a@b@c"]
)
def test_what_is_not_an_address_is_refused(address):
    with pytest.raises(DeviceError, match="is not an address; write it like"):
        ssh_device(address)


def test_an_unknown_host_key_is_refused_with_the_line_that_accepts_it(ssh_home, tmp_path):
    ssh_home.known("# nobody is known\n")
    fingerprint = subprocess.run(
        ["ssh-keygen", "-lf", ssh_home.root / "host_key.pub"], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    with pytest.raises(DeviceError) as caught:
        reach(ssh_home, tmp_path).run(["true"], 5)
    assert fingerprint in str(caught.value)
    assert f"ssh -p {ssh_home.port} " in str(caught.value)
    assert not isinstance(caught.value, DeviceLostError)


def test_no_known_hosts_at_all_is_no_reason_to_trust_anybody(ssh_home, tmp_path):
    (ssh_home.home / ".ssh" / "known_hosts").unlink()
    (ssh_home.home / ".ssh" / "config").write_text("UserKnownHostsFile none\nStrictHostKeyChecking no\n")
    with pytest.raises(DeviceError, match="is not known"):
        reach(ssh_home, tmp_path).run(["true"], 5)


def test_a_changed_host_key_is_refused_as_such(ssh_home, tmp_path):
    make_key(tmp_path / "another")
    key = " ".join((tmp_path / "another.pub").read_text().split()[:2])
    ssh_home.known(f"[127.0.0.1]:{ssh_home.port} {key}\n")
    with pytest.raises(DeviceError, match="has CHANGED"):
        reach(ssh_home, tmp_path).run(["true"], 5)


def test_a_user_without_a_key_is_told_what_to_do(ssh_home, tmp_path, monkeypatch):
    home = tmp_path / "home"
    make_key(home / ".ssh" / "id_ed25519")
    shutil.copy(ssh_home.home / ".ssh" / "known_hosts", home / ".ssh")
    monkeypatch.setenv("HOME", str(home))
    with pytest.raises(DeviceError, match="none of your keys; try 'ssh-copy-id"):
        reach(ssh_home, tmp_path).run(["true"], 5)


def test_a_key_with_a_passphrase_needs_the_agent(ssh_home, tmp_path, monkeypatch):
    home = tmp_path / "home"
    make_key(home / ".ssh" / "locked", "a secret")
    shutil.copy(ssh_home.home / ".ssh" / "known_hosts", home / ".ssh")
    (home / ".ssh" / "config").write_text(f"IdentityFile {home}/.ssh/locked\n")
    monkeypatch.setenv("HOME", str(home))
    with pytest.raises(DeviceError, match="ssh-add"):
        reach(ssh_home, tmp_path).run(["true"], 5)


def test_the_agent_is_used(ssh_home, tmp_path, monkeypatch):
    agent, add = shutil.which("ssh-agent"), shutil.which("ssh-add")
    if not agent or not add:
        pytest.skip("needs ssh-agent and ssh-add")
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    shutil.copy(ssh_home.home / ".ssh" / "known_hosts", home / ".ssh")
    running = subprocess.Popen([agent, "-D", "-a", tmp_path / "agent"], stdout=subprocess.DEVNULL)
    try:
        while not (tmp_path / "agent").exists():
            time.sleep(0.02)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        subprocess.run([add, "-q", ssh_home.home / ".ssh" / "id_ed25519"], check=True, stderr=subprocess.DEVNULL)
        monkeypatch.setenv("HOME", str(home))
        device = reach(ssh_home, tmp_path)
        assert device.run(["true"], 5).status == 0
        device.close()
    finally:
        running.terminate()
        running.wait(5)


def test_aliases_and_jump_hosts_of_the_config_are_followed(ssh_home, tmp_path):
    user = ssh_home.address.split("@")[0]
    (ssh_home.home / ".ssh" / "config").write_text(
        f"Host gate\n  HostName 127.0.0.1\n  Port {ssh_home.port}\n  User {user}\n"
        f"Host board\n  HostName 127.0.0.1\n  Port {ssh_home.port}\n  User {user}\n  ProxyJump gate\n"
    )
    before = len(ssh_home.sessions())
    device = ssh_device("board", lock=str(tmp_path / ".lock"))
    assert device.run(["echo", "there"], 10).stdout == "there\n"
    assert len(ssh_home.sessions()) == before + 2
    device.close()


def test_nobody_there_is_one_line(ssh_home, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        begun = time.monotonic()
        with pytest.raises(
            DeviceLostError, match=r"cannot be reached \(it refuses connections: is sshd running"
        ) as caught:
            reach(ssh_home, tmp_path, taken.getsockname()[1]).run(["true"], 5)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - begun < 5


def test_without_the_package_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'nas-edge\[devices\]'"):
        ssh_device("pi@board")


def test_nothing_secret_is_logged_or_seen_in_process_lists(device, ssh_home, caplog):
    private = (ssh_home.home / ".ssh" / "id_ed25519").read_text().splitlines()[1]
    with caplog.at_level(logging.DEBUG):
        seen = device.run(["ps", "-eo", "args"], 10).stdout
    assert private not in caplog.text + seen
    assert "id_ed25519" not in seen
    files = [path for path in ssh_home.tmp.rglob("*") if path.is_file()]
    assert files
    assert not any(private in path.read_text() for path in files)


def test_the_working_directory_is_for_its_user_alone(device):
    assert Path(device.directory).stat().st_mode & 0o777 == 0o700


def test_an_upload_that_was_cut_goes_on_where_it_was(device, ssh_home, tmp_path, monkeypatch):
    data = os.urandom(6 << 20)
    (tmp_path / "large").write_bytes(data)
    offsets = []
    upload = device._upload

    def cut_once(local, part, target, offset):
        offsets.append(offset)
        if len(offsets) == 1:
            half = tmp_path / "half"
            half.write_bytes(data[: 3 << 20])
            upload(half, part + "x", part, 0)
            ssh_home.cut()
            raise DeviceLostError("cut")
        upload(local, part, target, offset)

    monkeypatch.setattr(device, "_upload", cut_once)
    device.push(tmp_path / "large", "large")
    assert offsets == [0, 3 << 20]
    device.pull("large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data


def test_a_device_without_space_says_so_and_keeps_nothing(ssh_home, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    (tmp_path / "there").write_bytes(b"x" * 100_000)
    device = reach(ssh_home, tmp_path)
    full = Path(device.directory) / "full"
    full.symlink_to("/dev/full")
    with pytest.raises(DeviceError, match=r"cannot be written there .*No space left.*another directory"):
        device._upload(tmp_path / "there", str(full), str(full.with_name("file")), 0)
    device.close()


def test_a_directory_that_cannot_be_written_is_named(ssh_home, tmp_path):
    with pytest.raises(DeviceError, match="its directory /proc/nowhere cannot be written"):
        reach(ssh_home, tmp_path, directory="/proc/nowhere").run(["true"], 5)


def test_the_lock_says_who_has_it_and_since_when(device, ssh_home, tmp_path):
    other = reach(ssh_home, tmp_path)
    told = (
        rf"process {os.getpid()} on {socket.gethostname()} \(since \d{{4}}-\d\d-\d\d \d\d:\d\d UTC\) is measuring on it"
    )
    with device.lock(), pytest.raises(DeviceError, match=told), other.lock():
        pass
    other.close()


def test_a_lock_whose_keeper_is_gone_is_taken(device, ssh_home, tmp_path):
    lock = tmp_path / ".lock"
    lock.mkdir()
    (lock / "owner").write_text("process 1 on elsewhere (since long ago)\n")
    (lock / "keeper").write_text("4194999 no-such-boot\n")
    (lock / "beat").touch()
    with device.lock():
        assert f"process {os.getpid()} " in (lock / "owner").read_text()
    assert not lock.exists()


def test_a_lock_without_a_sign_of_life_is_taken_and_one_with_is_not(device, tmp_path):
    lock = tmp_path / ".lock"
    lock.mkdir()
    (lock / "owner").write_text("somebody\n")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    (lock / "keeper").write_text(f"{os.getpid()} {boot}")
    (lock / "beat").touch()
    with pytest.raises(DeviceError, match="somebody is measuring on it"), device.lock():
        pass
    os.utime(lock / "beat", (time.time() - 600, time.time() - 600))
    with device.lock():
        pass


def test_signs_of_life_are_sent(ssh_home, tmp_path, monkeypatch):
    monkeypatch.setattr("nas_edge.devices.scripts.BEAT_S", 0.05)
    device = reach(ssh_home, tmp_path)
    with device.lock():
        beats = (Path(device.directory) / ".beat", tmp_path / ".lock" / "beat")
        before = [beat.stat().st_mtime_ns for beat in beats]
        time.sleep(0.4)
        assert all(beat.stat().st_mtime_ns > old for beat, old in zip(beats, before, strict=True))
    device.close()


def test_what_a_killed_process_left_is_removed(ssh_home, tmp_path):
    script = (
        "import sys, time\nfrom nas_edge.devices.ssh import ssh_device\n"
        "device = ssh_device(sys.argv[1], lock=sys.argv[2], grace_s=0.3)\n"
        "with device.lock():\n    print(device.directory, flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, ssh_home.address, tmp_path / ".lock"], stdout=subprocess.PIPE, text=True
    )
    directory = Path(process.stdout.readline().strip())
    assert directory.is_dir()
    assert (tmp_path / ".lock").is_dir()
    process.kill()
    process.wait()
    assert gone(ssh_home.tmp)
    assert not (tmp_path / ".lock").exists()


def test_old_directories_of_nobody_are_removed(ssh_home, tmp_path):
    user = ssh_home.address.split("@")[0]
    old, own = (ssh_home.tmp / f"nas-edge-{user}-{name}" for name in ("0123456789abcdef", "mine"))
    for folder in (old, own):
        folder.mkdir()
    (old / ".keeper").write_text("1")
    device = reach(ssh_home, tmp_path)
    device.run(["true"], 5)
    assert not old.exists()
    assert own.exists()  # no mark of ours in it
    own.rmdir()
    device.close()
