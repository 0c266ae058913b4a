"""A real OpenSSH server on loopback: own port, own keys, own home for the client; nothing of the machine's is used."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""
KEYGEN = shutil.which("ssh-keygen") or ""
_CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {root}/host_key
PidFile {root}/pid
AuthorizedKeysFile {root}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
AcceptEnv NAS_EDGE_TEST
LogLevel ERROR
SetEnv TMPDIR={root}/tmp
"""


@dataclass
class Sshd:
    """A running server.

    Attributes:
        root: its files; `home` is a home for clients, with key, config and known_hosts; `tmp` is what sessions have as
            TMPDIR.
        port: on 127.0.0.1.

    """

    root: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def address(self) -> str:
        return f"{getpass.getuser()}@127.0.0.1:{self.port}"

    def sessions(self) -> list[int]:
        """Process ids of the connections that it serves."""
        return _children(self.process.pid)

    def cut(self) -> int:
        """Kill all connections, as a cable that is pulled would; how many there were."""
        pids = self.sessions()
        for pid in pids:
            for child in (*_children(pid), pid):
                try:
                    if b"sshd" in Path(f"/proc/{child}/cmdline").read_bytes():
                        os.kill(child, signal.SIGKILL)
                except OSError:
                    continue
        return len(pids)

    def known(self, line: str | None = None) -> None:
        """Have the client know its host key, or `line` instead."""
        key = " ".join((self.root / "host_key.pub").read_text().split()[:2])
        (self.home / ".ssh" / "known_hosts").write_text(line or f"[127.0.0.1]:{self.port} {key}\n")


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_key(path: Path, passphrase: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([KEYGEN, "-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f", path], check=True)


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A server for all tests. Skips where there is none (Debian: apt install openssh-server)."""
    if not SSHD or not KEYGEN:
        pytest.skip("needs sshd and ssh-keygen (Debian: openssh-server)")
    root = tmp_path_factory.mktemp("sshd")
    port = free_port()
    make_key(root / "host_key")
    make_key(root / "home" / ".ssh" / "id_ed25519")
    (root / "tmp").mkdir()
    shutil.copy(root / "home" / ".ssh" / "id_ed25519.pub", root / "authorized_keys")
    (root / "config").write_text(_CONFIG.format(port=port, root=root))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it separates privileges; it refuses to start without
    with open(root / "log", "wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", root / "config"], stderr=log)
    server = Sshd(root, port, process)
    try:
        _wait(server)
        server.known()
        yield server
    finally:
        server.cut()
        process.terminate()
        process.wait(10)


def _wait(server: Sshd) -> None:
    for _ in range(100):
        if server.process.poll() is not None:
            pytest.skip(f"sshd does not start here: {(server.root / 'log').read_text().strip()[-300:]}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", server.port)) == 0:
                return
        time.sleep(0.05)
    pytest.skip("sshd does not answer here")


@pytest.fixture
def ssh_home(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Sshd:
    """The server, with this process's home set to one that knows it."""
    monkeypatch.setenv("HOME", str(sshd.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (sshd.home / ".ssh" / "config").unlink(missing_ok=True)
    sshd.known()
    return sshd
