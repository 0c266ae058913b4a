"""A device at the other end of a connection: files, commands, a lock, and what is left there when it is cut."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import posixpath
import secrets
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from nas_edge.devices import scripts
from nas_edge.devices.base import CommandResult
from nas_edge.devices.facts import FINGERPRINT_FILES, STATE_FILES, parse_sections
from nas_edge.devices.fingerprint import DeviceFingerprint, build_fingerprint
from nas_edge.devices.line_process import LineProcess, read_all
from nas_edge.devices.state import DeviceState, build_state
from nas_edge.devices.transport import Channel, Transport
from nas_edge.errors import DeviceError, DeviceLostError

T = TypeVar("T")

LOCK_NAME = "nas-edge.lock"
_SHORT_S = 30.0
_STALL_S = 60.0
_CHUNK = 256 * 1024
_POLL_S = 0.2
_GRACE_S = 120.0
_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
_MOST_OUTPUT = 64 * 2**20


class RemoteDevice:
    """A `Device` over a `Transport` (ssh, adb).

    A small shell, the keeper, lives on the device as long as the connection. It makes the working directory, a
    temporary one that only its user can enter, and removes it at the end; after a cut it waits `grace_s` for us to
    come back. Commands end with their connection. So nothing is left behind, whatever happens to this side.

    Args:
        transport: the way there.
        directory: parent of the working directory; by default the device's temporary one.
        lock: path of the lock on the device; by default one for all of its users.
        patience_s: how long to try to connect again after a cut.
        grace_s: how long the device waits for that.

    """

    def __init__(
        self, transport: Transport, directory: str = "", lock: str = "", patience_s: float = 60.0,
        grace_s: float = _GRACE_S,
    ) -> None:  # fmt: skip
        self._transport, self._patience_s, self._grace_s = transport, patience_s, grace_s
        self._parent = directory or transport.temporary
        self._lock = lock or posixpath.join(transport.temporary or "/tmp", LOCK_NAME)  # noqa: S108 - on the device
        self._token = secrets.token_hex(8)
        self._work = ""
        self._keeper: _Keeper | None = None
        self._locked = False
        self._fingerprint: DeviceFingerprint | None = None
        atexit.register(_close_reference, weakref.ref(self))

    @property
    def name(self) -> str:
        """The transport's address."""
        return self._transport.name

    @property
    def directory(self) -> str:
        """The working directory; connects if need be."""
        self._ready()
        return self._work

    def fingerprint(self) -> DeviceFingerprint:
        """What the device is, read once."""
        if self._fingerprint is None:
            self._fingerprint = build_fingerprint(self._sections(FINGERPRINT_FILES))
        return self._fingerprint

    def state(self) -> DeviceState:
        """How it is now."""
        return build_state(self._sections(STATE_FILES))

    def push(self, local: Path, remote: str) -> None:
        """Copy a file there, whole or not at all; after a cut it goes on where it was. Raises DeviceError."""
        target = self._inside(remote)
        try:
            size, digest = local.stat().st_size, _digest(local)
        except OSError as error:
            raise DeviceError(f"device {self.name!r}: {local} cannot be read ({error.strerror or error})") from error
        part = f".{digest[:16]}.part"  # named by its content: what is there of it is a part of this very file
        cut = False

        def once() -> None:
            nonlocal cut
            there, whole = (posixpath.join(self.directory, name) for name in (part, target))
            arrived = int(self._script(scripts.ARRIVED, there)) if cut else 0
            cut = True
            self._upload(local, there, whole, arrived if arrived <= size else 0)

        try:
            self._again(once)
        except OSError as error:
            raise DeviceError(f"device {self.name!r}: {local} cannot be read ({error.strerror or error})") from error
        except DeviceError as error:
            if not isinstance(error, DeviceLostError):
                with contextlib.suppress(DeviceError):
                    self._script('rm -f "$1"', posixpath.join(self._work, part))
            raise

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file back, whole or not at all. Raises DeviceError."""
        source = self._inside(remote)
        temporary = local.with_name(f".{local.name}.{os.getpid()}.tmp")

        def once() -> None:
            channel = self._start(scripts.shell(scripts.PULL, posixpath.join(self.directory, source)))
            try:
                self._receive(channel, temporary, remote)
            finally:
                channel.close()

        try:
            self._again(once)
            os.replace(temporary, local)
        except OSError as error:
            raise DeviceError(f"device {self.name!r}: {local} cannot be written ({error.strerror or error})") from error
        finally:
            temporary.unlink(missing_ok=True)

    def run(self, argv: Sequence[str], timeout_s: float) -> CommandResult:
        """Run a command in the working directory.

        Raises:
            DeviceError: no such command, not finished after `timeout_s` seconds, more than 64 MB of output.
            DeviceLostError: the connection was cut. In all cases it, and what it started, has been killed.

        """
        if not argv:
            raise DeviceError(f"device {self.name!r}: an empty command cannot be run")
        channel = self._start(scripts.with_command(scripts.RUN, self.directory, argv))
        try:
            output = read_all(channel, timeout_s, _MOST_OUTPUT)
            status, errors = channel.status(_SHORT_S), channel.errors().decode("utf-8", "replace")
        except TimeoutError as error:
            raise DeviceError(
                f"device {self.name!r}: {argv[0]} did not finish within {timeout_s:g} s and was stopped"
            ) from error
        except OverflowError as error:
            raise DeviceError(f"device {self.name!r}: {argv[0]} printed more than 64 MB and was stopped") from error
        except DeviceLostError as error:
            raise DeviceLostError(
                f"device {self.name!r}: the connection was cut while {argv[0]} ran, which was stopped"
            ) from error
        finally:
            channel.close()
        if status == scripts.NO_COMMAND and scripts.NOT_STARTED in errors:
            raise DeviceError(f"device {self.name!r}: {argv[0]} cannot be run (No such command there)")
        return CommandResult(status, output.decode("utf-8", "replace"), errors)

    def start(self, argv: Sequence[str]) -> LineProcess:
        """Start a command in the working directory to talk with it. Raises DeviceError, DeviceLostError."""
        channel = self._start(scripts.with_command(scripts.TALK, self.directory, argv))
        process = LineProcess(self.name, argv[0], channel, self._kill)
        process.begin(_SHORT_S)
        return process

    @contextlib.contextmanager
    def lock(self, timeout_s: float = 0.0) -> Iterator[None]:
        """Keep all other measuring of nas-edge away from the device. Raises DeviceError when somebody has it."""
        deadline = time.monotonic() + timeout_s
        while self._locked or (holder := self._again(self._take)) is not None:
            if time.monotonic() >= deadline:
                who = holder if not self._locked else "this process"
                raise DeviceError(
                    f"device {self.name!r}: {who} is measuring on it; try again when it is done (its lock is "
                    f"{self._lock})"
                )
            time.sleep(_POLL_S)
        self._locked = True
        try:
            yield
        finally:
            self._locked = False
            if self._transport.alive:  # otherwise the keeper gives it back
                with contextlib.suppress(DeviceError):
                    self._script(scripts.RELEASE, self._lock, self._token)

    def close(self) -> None:
        """Remove the working directory and disconnect."""
        if self._keeper is not None:
            self._keeper.dismiss()
            self._keeper = None
        self._transport.close()

    # Connection ------------------------------------------------------------------------------------------------

    def _ready(self) -> None:
        """Be connected, with a keeper. Raises DeviceError."""
        if self._keeper is not None and self._transport.alive and self._keeper.alive:
            return
        if self._keeper is None:
            self._connect()
            return
        self._keeper.stop()
        deadline = time.monotonic() + self._patience_s
        for attempt in range(10**6):
            try:
                self._connect()
                return
            except DeviceLostError as error:
                wait_s = _BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)]
                if time.monotonic() + wait_s > deadline:
                    raise DeviceLostError(
                        f"{error}; it was cut off and did not come back within {self._patience_s:g} s"
                    ) from error
                time.sleep(wait_s)

    def _connect(self) -> None:
        self._transport.connect()
        arguments = (self._parent, self._token, self._lock, f"{self._grace_s:g}")
        keeper = _Keeper(self._transport.start(scripts.shell(scripts.KEEP, *arguments)))
        try:
            self._work = keeper.greeting(self.name)
        except DeviceError:
            self._transport.close()
            raise
        self._keeper = keeper
        if self._locked and (holder := self._take()) is not None:
            raise DeviceError(f"device {self.name!r}: it was cut off, and {holder} has begun to measure on it since")

    def _again(self, once: Callable[[], T]) -> T:
        """Do what may be done twice; again after a cut, as long as there is patience, and once more in any case: time
        may have passed while this side was suspended.
        """
        deadline = time.monotonic() + self._patience_s
        tried = 0
        while True:
            try:
                return once()
            except DeviceLostError:
                tried += 1
                if tried > 1 and time.monotonic() > deadline:
                    raise
                self._ready()

    def _start(self, command: str) -> Channel:
        self._ready()
        return self._transport.start(command)

    def _script(self, script: str, *arguments: str) -> str:
        """Output of a script of ours. Raises DeviceError with what it says where it fails."""
        channel = self._start(scripts.shell(script, *arguments))
        try:
            channel.close_input()
            output = read_all(channel, _SHORT_S, _MOST_OUTPUT)
            status = channel.status(_SHORT_S)
        except TimeoutError as error:
            raise DeviceLostError(f"device {self.name!r}: no answer within {_SHORT_S:g} s") from error
        except OverflowError as error:
            raise DeviceError(f"device {self.name!r}: its shell answers without end") from error
        finally:
            channel.close()
        if status != 0:
            said = channel.errors().decode("utf-8", "replace").strip().splitlines() or [f"status {status}"]
            raise DeviceError(f"device {self.name!r}: {said[-1][:300]}")
        return output.decode("utf-8", "replace")

    def _sections(self, files: Sequence[str]) -> dict[str, str]:
        return self._again(lambda: parse_sections(self._script(scripts.SECTIONS, *files)))

    def _take(self) -> str | None:
        """Take the lock: None, or whoever has it, in words."""
        self._ready()
        assert self._keeper is not None
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        owner = f"process {os.getpid()} on {socket.gethostname()} (since {since})"
        answer = self._script(scripts.TAKE, self._lock, self._token, owner, str(self._keeper.pid)).splitlines()
        if answer and answer[0] == "taken":
            return None
        told = "".join(c for c in " ".join(answer[1:2]) if c.isprintable())[:120] or "somebody"
        return f"{told} (who has vanished: remove the lock)" if answer and answer[0] == "stale" else told

    def _upload(self, local: Path, part: str, target: str, offset: int) -> None:
        """Append what follows `offset` to `part`, then rename it to `target`. Raises as `push`, and OSError."""
        with open(local, "rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            handle.seek(offset)
            channel = self._start(scripts.shell(scripts.STORE, part, target, str(size), str(offset)))
            try:
                with contextlib.suppress(BrokenPipeError):  # its status tells why it takes no more
                    while chunk := handle.read(_CHUNK):
                        channel.write(chunk, _STALL_S)
                    channel.close_input()
                status = channel.status(_STALL_S)
                said = " ".join(channel.errors().decode("utf-8", "replace").split())[:300]
            except TimeoutError as error:
                self._transport.close()
                raise DeviceLostError(f"device {self.name!r}: it takes no more of {local.name}") from error
            finally:
                channel.close()
        if status != 0:
            hint = "; free some, or give the target another directory" if "space" in said.lower() else ""
            raise DeviceError(f"device {self.name!r}: {local.name} cannot be written there ({said}{hint})")

    def _kill(self, pid: int) -> None:
        with contextlib.suppress(DeviceError):
            if self._transport.alive:
                self._script(scripts.KILL, str(pid))

    def _receive(self, channel: Channel, into: Path, remote: str) -> None:
        """Write what `PULL` says into a file. Raises DeviceError, DeviceLostError, OSError."""
        missing = DeviceError(f"device {self.name!r}: there is no file {remote!r}")
        try:
            head = b""
            while b"\n" not in head and (more := channel.read(_STALL_S)):
                head += more
            first, _, rest = head.partition(b"\n")
            if not first.strip().isdigit():
                if channel.status(_SHORT_S) == scripts.MISSING:
                    raise missing
                said = channel.errors().decode("utf-8", "replace").strip()[:300]
                raise DeviceError(f"device {self.name!r}: {remote!r} cannot be read ({said})")
            wanted, got = int(first), len(rest)
            with open(into, "wb") as handle:
                handle.write(rest)
                while got < wanted and (more := channel.read(_STALL_S)):
                    handle.write(more)
                    got += len(more)
        except TimeoutError as error:
            raise DeviceLostError(f"device {self.name!r}: nothing more came of {remote!r}") from error
        if got != wanted:
            raise DeviceLostError(f"device {self.name!r}: {remote!r} came back with {got} of its {wanted} bytes")

    def _inside(self, remote: str) -> str:
        path = posixpath.normpath(remote) if remote else ""
        if not path or path in (".", "..") or path.startswith(("/", "../")) or "\0" in path:
            raise DeviceError(f"device {self.name!r}: {remote!r} is not a path inside the working directory")
        return path


class _Keeper:
    """Our side of the keeper: sends a sign of life now and then."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.pid = 0

    @property
    def alive(self) -> bool:
        """Whether the last sign of life could be sent."""
        return not self._stopped.is_set()

    def greeting(self, name: str) -> str:
        """Wait until it stands; the working directory. Raises DeviceError, DeviceLostError."""
        try:
            line = b""
            while not line.endswith(b"\n") and (more := self._channel.read(_SHORT_S)):
                line += more
        except TimeoutError as error:
            raise DeviceLostError(f"device {name!r}: its shell does not answer") from error
        pid, _, work = line.decode("utf-8", "replace").strip().partition(" ")
        if not pid.isdigit() or not work.startswith("/"):
            said = (self._channel.errors().decode("utf-8", "replace").strip().splitlines() or [work])[-1][:300]
            raise DeviceError(f"device {name!r}: it cannot be worked on: {said or 'it has no POSIX shell'}")
        self.pid = int(pid)
        self._thread = threading.Thread(target=self._beat, name="nas-edge keeper", daemon=True)
        self._thread.start()
        return work

    def stop(self) -> None:
        """Send nothing more; the device removes everything unless somebody comes back."""
        self._stopped.set()
        self._channel.close()

    def dismiss(self) -> None:
        """Have everything removed now."""
        with contextlib.suppress(DeviceError, TimeoutError, OSError):
            self._channel.write(b"bye\n", _SHORT_S)
            self._channel.status(_SHORT_S)
        self.stop()

    def _beat(self) -> None:
        while not self._stopped.wait(scripts.BEAT_S):
            try:
                self._channel.write(b"\n", _SHORT_S)
            except (DeviceError, TimeoutError, OSError):
                self._stopped.set()


def _digest(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _close_reference(reference: weakref.ref[RemoteDevice]) -> None:
    if (device := reference()) is not None:
        device.close()
