"""The machine at hand."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess  # commands are lists, never a shell's text
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nas_edge.devices.base import CommandResult
from nas_edge.devices.fingerprint import DeviceFingerprint, local_fingerprint
from nas_edge.devices.line_process import LineProcess
from nas_edge.devices.local_channel import LocalChannel
from nas_edge.devices.state import DeviceState, local_state
from nas_edge.errors import DeviceError

_POLL_S = 0.1


class LocalDevice:
    """The machine at hand as a `Device`.

    Args:
        directory: where pushed files go; by default a temporary one, made when first needed.

    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @property
    def name(self) -> str:
        """Always "local"."""
        return "local"

    @property
    def directory(self) -> Path:
        """The working directory."""
        if self._directory is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="nas-edge-")
            self._directory = Path(self._temporary.name)
        self._directory.mkdir(parents=True, exist_ok=True)
        return self._directory

    def fingerprint(self) -> DeviceFingerprint:
        """What this machine is."""
        return local_fingerprint()

    def state(self) -> DeviceState:
        """How it is now."""
        return local_state()

    def push(self, local: Path, remote: str) -> None:
        """Copy a file into the working directory. Raises DeviceError."""
        self._copy(local, self._inside(remote))

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file out of the working directory. Raises DeviceError."""
        self._copy(self._inside(remote), local)

    def run(self, argv: Sequence[str], timeout_s: float) -> CommandResult:
        """Run a command in the working directory.

        Raises:
            DeviceError: no such command, or not finished after `timeout_s` seconds (it is then killed).

        """
        if not argv:
            raise DeviceError("device 'local': an empty command cannot be run")
        process = self._popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        with process:
            try:
                streams = process.communicate(timeout=timeout_s)
            except BaseException as error:
                _kill_group(process.pid)
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
                raise DeviceError(
                    f"device 'local': {argv[0]} did not finish within {timeout_s:g} s and was stopped"
                ) from error
        output, errors = (stream.decode("utf-8", "replace") for stream in streams)
        return CommandResult(process.returncode, output, errors)

    def start(self, argv: Sequence[str]) -> LineProcess:
        """Start a command in the working directory to talk with it. Raises DeviceError: no such command."""
        if not argv:
            raise DeviceError("device 'local': an empty command cannot be run")
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the channel
        try:
            process = self._popen(argv, stdin=subprocess.PIPE, stderr=errors)
        except DeviceError:
            errors.close()
            raise
        return LineProcess("local", argv[0], LocalChannel(process, errors), _kill_group, process.pid)

    def close(self) -> None:
        """Remove the working directory, where it is a temporary one."""
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = self._directory = None

    def _popen(self, argv: Sequence[str], **streams: Any) -> subprocess.Popen[bytes]:
        """In a process group of its own: what it starts can be killed with it."""
        try:
            return subprocess.Popen(  # noqa: S603 - the caller's command is the purpose; no shell
                list(argv), cwd=self.directory, stdout=subprocess.PIPE, start_new_session=True, **streams
            )
        except ValueError as error:
            raise DeviceError(f"device 'local': {argv[0]!r} cannot be run ({error})") from error
        except OSError as error:
            raise DeviceError(f"device 'local': {argv[0]} cannot be run ({error.strerror})") from error

    @contextlib.contextmanager
    def lock(self, timeout_s: float = 0.0) -> Iterator[None]:
        """Keep other measuring processes of this user away. Raises DeviceError when one is at work."""
        base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
        path = base / f"nas-edge-local-{os.getuid()}.lock"
        deadline = time.monotonic() + timeout_s
        try:
            handle = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - closed below, also where locking fails
        except OSError as error:
            raise DeviceError(f"device 'local': the lock {path} cannot be opened ({error.strerror})") from error
        with handle:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as error:
                    if time.monotonic() >= deadline:
                        handle.seek(0)
                        holder = handle.read(20).strip() or "unknown"
                        raise DeviceError(
                            f"device 'local': process {holder} is measuring on it; try again when it is done"
                        ) from error
                    time.sleep(_POLL_S)
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            yield

    def _inside(self, remote: str) -> Path:
        root = self.directory.resolve()
        if "\0" in remote:
            raise DeviceError(f"device 'local': {remote!r} is not a path inside the working directory")
        path = (root / remote).resolve()
        if not path.is_relative_to(root) or path == root:
            raise DeviceError(f"device 'local': {remote!r} is not a path inside the working directory")
        return path

    def _copy(self, source: Path, target: Path) -> None:
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, temporary)
            os.replace(temporary, target)
        except OSError as error:
            raise DeviceError(
                f"device 'local': {source} cannot be copied to {target} ({error.strerror or error})"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
