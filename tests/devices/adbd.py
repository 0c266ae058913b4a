"""A stand-in for a phone: a daemon that speaks adb's protocol over TCP and runs real programs of this machine.

The adb server beside it is a real one. The protocol: messages of 24 bytes and data (CNXN, AUTH, OPEN, OKAY, WRTE,
CLSE), a key that is accepted once and then checked by its signature, and shells of version 2.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .sshd import free_port

ADB = shutil.which("adb") or ""
_TOKEN, _SIGNATURE, _PUBLIC_KEY = 1, 2, 3
_VERSION, _MOST = 0x01000001, 256 * 1024
_SHA1 = bytes.fromhex("3021300906052b0e03021a05000414")


class Adbd:
    """The daemon.

    Args:
        root: what its sessions have as TMPDIR lies here.
        trusts: whether new keys are accepted, as a user would on the screen.
        features: what it says it can do.

    """

    def __init__(self, root: Path, trusts: bool = True, features: str = "shell_v2,cmd") -> None:
        self.tmp = root / "data-local-tmp"
        self.tmp.mkdir(parents=True, exist_ok=True)
        self._trusts, self._features = trusts, features
        self._keys: list[tuple[int, int]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._links: list[_Link] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Pull the cable."""
        links, self._links = self._links, []
        for link in links:
            link.cut()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                link = _Link(self, connection)
                self._links.append(link)
                threading.Thread(target=link.serve, daemon=True).start()


class _Link:
    """One connection of an adb server."""

    def __init__(self, daemon: Adbd, connection: socket.socket) -> None:
        self._daemon, self._connection = daemon, connection
        self._sending = threading.Lock()
        self._streams: dict[int, _Shell] = {}
        self._next = 1
        self._token = os.urandom(20)

    def serve(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                command, a, b, length, *_ = struct.unpack("<4s5I", self._exactly(24))
                self._handle(command, a, b, self._exactly(length))
        self.cut()

    def cut(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        for stream in list(self._streams.values()):
            stream.close()

    def send(self, command: bytes, a: int, b: int, data: bytes = b"") -> None:
        magic = struct.unpack("<I", command)[0] ^ 0xFFFFFFFF
        head = struct.pack("<4s5I", command, a, b, len(data), sum(data) & 0xFFFFFFFF, magic)
        with self._sending, contextlib.suppress(OSError):
            self._connection.sendall(head + data)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._connection.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def _handle(self, command: bytes, a: int, b: int, data: bytes) -> None:
        if command == b"CNXN":
            self.send(b"AUTH", _TOKEN, 0, self._token)
        elif command == b"AUTH":
            self._authenticate(a, data)
        elif command == b"OPEN":
            self._open(a, data.rstrip(b"\0"))
        elif stream := self._streams.get(b):  # its own thread may end it meanwhile
            if command == b"WRTE":
                self.send(b"OKAY", b, a)
                stream.take(data)
            elif command == b"OKAY":
                stream.may_write.set()
            elif command == b"CLSE":
                self._streams.pop(b, None)
                stream.close()

    def _authenticate(self, kind: int, data: bytes) -> None:
        keys = self._daemon._keys
        if kind == _PUBLIC_KEY and self._daemon._trusts:
            raw = base64.b64decode(data.split(b" ")[0].rstrip(b"\0"))
            words = struct.unpack_from("<I", raw)[0]
            modulus = int.from_bytes(raw[8 : 8 + 4 * words], "little")
            keys.append((modulus, struct.unpack_from("<I", raw, 8 + 8 * words)[0]))
        elif kind != _SIGNATURE or not any(self._signed(data, *key) for key in keys):
            if kind == _SIGNATURE:
                self.send(b"AUTH", _TOKEN, 0, self._token)
            return
        banner = f"device::ro.product.name=stand;ro.product.model=Stand;features={self._daemon._features}"
        self.send(b"CNXN", _VERSION, _MOST, banner.encode())

    def _signed(self, signature: bytes, modulus: int, exponent: int) -> bool:
        size = (modulus.bit_length() + 7) // 8
        found = pow(int.from_bytes(signature, "big"), exponent, modulus).to_bytes(size, "big")
        padding = b"\xff" * (size - 3 - len(_SHA1) - 20)
        return found == b"\0\1" + padding + b"\0" + _SHA1 + self._token

    def _open(self, remote: int, service: bytes) -> None:
        if not service.startswith(b"shell,v2"):
            self.send(b"CLSE", 0, remote)
            return
        local, self._next = self._next, self._next + 1
        self._streams[local] = _Shell(self, local, remote, service.partition(b":")[2], self._daemon.tmp)
        self.send(b"OKAY", local, remote)
        self._streams[local].begin()


class _Shell:
    """A shell of version 2: what it prints in packets, its input likewise."""

    def __init__(self, link: _Link, local: int, remote: int, command: bytes, tmp: Path) -> None:
        self._link, self._local, self._remote = link, local, remote
        self.may_write = threading.Event()
        self._buffer = b""
        self._writing = threading.Lock()
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [b"/bin/sh", b"-c", command], stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True,
            env={**os.environ, "TMPDIR": str(tmp)}, cwd="/",
        )  # fmt: skip

    def begin(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def take(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 5:
            kind, length = struct.unpack_from("<BI", self._buffer)
            if len(self._buffer) < 5 + length:
                return
            body, self._buffer = self._buffer[5 : 5 + length], self._buffer[5 + length :]
            with contextlib.suppress(OSError, ValueError):
                if kind == 0:
                    self._process.stdin.write(body)
                    self._process.stdin.flush()
                elif kind == 4:
                    self._process.stdin.close()

    def close(self) -> None:
        """As the real one: its pipes are closed, no more."""
        self.may_write.set()
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.close()

    def _run(self) -> None:
        pumps = [
            threading.Thread(target=self._pump, args=(kind, stream), daemon=True)
            for kind, stream in ((1, self._process.stdout), (2, self._process.stderr))
        ]
        for pump in pumps:
            pump.start()
        for pump in pumps:
            pump.join()
        status = self._process.wait()
        self._write(struct.pack("<BI", 3, 1) + bytes([status if status >= 0 else 128 - status]))
        self._link.send(b"CLSE", self._local, self._remote)
        self._link._streams.pop(self._local, None)

    def _pump(self, kind: int, stream) -> None:
        while data := os.read(stream.fileno(), 64 * 1024):
            self._write(struct.pack("<BI", kind, len(data)) + data)

    def _write(self, data: bytes) -> None:
        """One message at a time: the next after it was taken."""
        with self._writing:
            if self._local in self._link._streams:
                self.may_write.clear()
                self._link.send(b"WRTE", self._local, self._remote, data)
                self.may_write.wait(30)


@pytest.fixture(scope="session")
def adb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real adb server with a home of its own. Skips where adb is not installed."""
    if not ADB:
        pytest.skip("needs adb (Debian: apt install adb)")
    root, port = tmp_path_factory.mktemp("adb"), free_port()
    environment = {**os.environ, "HOME": str(root), "ANDROID_USER_HOME": str(root), "ADB_MDNS": "0"}
    with open(root / "log", "wb") as log:
        process = subprocess.Popen(
            [ADB, "-P", str(port), "server", "nodaemon"], env=environment, stdout=log, stderr=log, cwd=root
        )
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        else:
            pytest.skip("the adb server does not start here")
        yield port
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def phone(adb_server: int, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Adbd]:
    """A stand-in phone, and this process set to the adb server of the tests."""
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(adb_server))
    monkeypatch.setenv("ANDROID_ADB_SERVER_HOST", "127.0.0.1")
    daemon = Adbd(tmp_path_factory.mktemp("phone"))
    yield daemon
    daemon.close()
    _forget(adb_server, daemon.serial)


def _forget(port: int, serial: str) -> None:
    subprocess.run([ADB, "-P", str(port), "disconnect", serial], capture_output=True, check=False, timeout=20)
