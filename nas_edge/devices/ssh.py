"""Devices over ssh, by asyncssh: keys, agent, known hosts, jump hosts and aliases as `~/.ssh` has them for OpenSSH.

Host keys are always checked. Nothing secret passes through here: keys are read by asyncssh or stay in the agent, and
passwords are not asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nas_edge.devices.remote import RemoteDevice
from nas_edge.errors import DeviceError, DeviceLostError, MissingExtraError

if TYPE_CHECKING:
    import asyncssh

T = TypeVar("T")

_CONNECT_S, _LOGIN_S = 10, 20
_KEEPALIVE_S, _KEEPALIVES = 10, 3
_STALL_S = 60.0
_LOOK_AGAIN_S = 0.1
_CHUNK = 256 * 1024
_MOST_ERRORS = 256 * 1024
_ADDRESS = re.compile(
    r"(?:(?P<user>[^@\s:]+)@)?(?:\[(?P<v6>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^@\s:\[\]]+))(?::(?P<port>\d+))?"
)


def ssh_device(address: str, directory: str = "", **options: Any) -> RemoteDevice:
    """A device by "[user@]host[:port]"; host may be an alias of `~/.ssh/config`, or an IPv6 address in brackets.

    Args:
        address: see above.
        directory: parent of the working directory on the device.
        options: of `RemoteDevice`.

    Raises:
        DeviceError: not an address. MissingExtraError: asyncssh is not installed.

    """
    return RemoteDevice(SshTransport(address), directory, **options)


def parse_address(address: str) -> tuple[str | None, str, int | None]:
    """User, host, port; None where they are not said. Raises DeviceError."""
    found = _ADDRESS.fullmatch(address)
    port = int(found["port"]) if found and found["port"] else None
    host = (found["v6"] or found["host"]) if found else ""
    if not found or host.startswith("-") or (port is not None and not 0 < port < 65536):
        raise DeviceError(f"{address!r} is not an address; write it like pi@192.168.1.5 or pi@board.local:2222")
    return found["user"], host, port


class SshTransport:
    """A `Transport` over one ssh connection.

    Args:
        address: see `ssh_device`.

    """

    def __init__(self, address: str) -> None:
        self._user, self._host, self._port = parse_address(address)
        self._address = address
        self._asyncssh = _asyncssh()
        self._loop = _Loop()
        self._connection: asyncssh.SSHClientConnection | None = None

    @property
    def name(self) -> str:
        """The address."""
        return self._address

    @property
    def temporary(self) -> str:
        """The device's own idea."""
        return ""

    @property
    def alive(self) -> bool:
        """Whether the connection stands."""
        return self._connection is not None and not self._connection.is_closed()

    def connect(self) -> None:
        """Connect anew. Raises DeviceError, DeviceLostError."""
        self.close()
        asyncssh = self._asyncssh
        seen: list[Any] = []

        class Client(asyncssh.SSHClient):  # type: ignore[misc,name-defined]
            """Remembers a host key that is not known, and refuses it."""

            def validate_host_public_key(self, host: str, addr: str, port: int, key: Any) -> bool:
                seen.append(key)
                return False

        async def connect() -> Any:
            wanted = {"port": self._port, "username": self._user}
            given: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
            own = Path("~/.ssh/config").expanduser()
            given["config"] = [str(own)] if own.is_file() else []
            configured = await asyncssh.SSHClientConnectionOptions.construct(host=self._host, **given)
            if configured.known_hosts is None:  # "UserKnownHostsFile none" means no keys, not that all are trusted
                known = Path("~/.ssh/known_hosts").expanduser()
                given["known_hosts"] = str(known) if known.is_file() else b"#"
            return await asyncssh.connect(
                self._host,
                client_factory=Client,
                connect_timeout=_CONNECT_S,
                login_timeout=_LOGIN_S,
                keepalive_interval=_KEEPALIVE_S,
                keepalive_count_max=_KEEPALIVES,
                **given,
            )

        try:
            self._connection = self._loop.call(connect(), 3 * _CONNECT_S + _LOGIN_S)
        except asyncssh.HostKeyNotVerifiable as error:
            raise self._unknown_key(seen, error) from error
        except asyncssh.PermissionDenied as error:
            raise DeviceError(
                f"device {self.name!r}: it accepts none of your keys; try 'ssh-copy-id {self._for_ssh()}', and ssh-add "
                "a key that has a passphrase"
            ) from error
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            raise DeviceError(
                f"device {self.name!r}: a key cannot be read ({error}); a key with a passphrase is used through the "
                "agent: ssh-add FILE"
            ) from error
        except asyncssh.ConfigParseError as error:
            raise DeviceError(f"device {self.name!r}: ~/.ssh/config: {error}") from error
        except (OSError, asyncssh.Error, TimeoutError) as error:
            reason = str(error) or "no answer"
            if isinstance(error, ConnectionRefusedError):
                reason = "it refuses connections: is sshd running there, and this its port?"
            raise DeviceLostError(f"device {self.name!r}: cannot be reached ({_one_line(reason)})") from error

    def start(self, command: str) -> _SshChannel:
        """Start a command. Raises DeviceLostError, DeviceError."""
        connection = self._connection
        if connection is None:
            raise DeviceLostError(f"device {self.name!r}: is not connected")

        async def begin() -> Any:
            return await connection.create_process(command, encoding=None)

        try:
            process = self._loop.call(begin(), _CONNECT_S + _LOGIN_S)
        except UnicodeEncodeError as error:
            raise DeviceError(f"device {self.name!r}: {error.object!r} is not text") from error
        except (OSError, self._asyncssh.Error, TimeoutError) as error:
            self._drop()
            raise DeviceLostError(f"device {self.name!r}: the connection was cut ({_one_line(error)})") from error
        return _SshChannel(self, process)

    def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is None:
            return

        async def close() -> None:
            connection.close()
            await asyncio.wait_for(connection.wait_closed(), 2)

        with contextlib.suppress(Exception):  # it is being let go of
            self._loop.call(close(), 5)

    def call(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """Await something. Raises TimeoutError, and DeviceLostError for a connection that was cut."""
        try:
            return self._loop.call(work, timeout_s)
        except (BrokenPipeError, TimeoutError):
            raise
        except (self._asyncssh.Error, OSError, asyncio.IncompleteReadError) as error:
            self._drop()
            raise DeviceLostError(f"device {self.name!r}: the connection was cut ({_one_line(error)})") from error

    def _drop(self) -> None:
        """The connection is of no use any more."""
        if self._connection is not None:
            self._loop.post(self._connection.abort)
        self._connection = None

    def _unknown_key(self, seen: list[Any], error: Exception) -> DeviceError:
        """Refuse a host key, saying how to accept it."""
        if not seen:
            return DeviceError(f"device {self.name!r}: its host key is refused ({_one_line(error)})")
        key = seen[0]
        kind = key.get_algorithm()
        told = f"{key.get_fingerprint()} ({kind})"
        if self._has_another_key():
            name = f"[{self._host}]:{self._port}" if self._port not in (None, 22) else self._host
            return DeviceError(
                f"device {self.name!r}: its host key has CHANGED, it is now {told}: another device, or somebody in "
                f"between; if it was set up anew: ssh-keygen -R '{name}'; then ssh {self._for_ssh()}"
            )
        return DeviceError(
            f"device {self.name!r}: its host key is not known: {told}; to accept it compare the fingerprint in: "
            f"ssh {self._for_ssh()} true"
        )

    def _has_another_key(self) -> bool:
        known = Path("~/.ssh/known_hosts").expanduser()
        try:
            found = self._asyncssh.match_known_hosts(str(known), self._host, "", self._port or 22)
        except (OSError, ValueError):
            return False
        return bool(found[0])

    def _for_ssh(self) -> str:
        """The address as arguments of OpenSSH."""
        port = f"-p {self._port} " if self._port else ""
        return port + (f"{self._user}@" if self._user else "") + self._host


class _SshChannel:
    """A `Channel` on an ssh session; see there."""

    def __init__(self, transport: SshTransport, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self._transport, self._process = transport, process
        self._errors = bytearray()
        self._collecting: asyncio.Task[None] | None = None
        transport.call(self._collect_errors(), _CONNECT_S)

    def write(self, data: bytes, timeout_s: float) -> None:
        """To standard input."""

        async def write() -> None:
            if self._process.exit_status is not None:
                raise BrokenPipeError
            self._process.stdin.write(data)
            await asyncio.wait_for(self._process.stdin.drain(), timeout_s)

        self._transport.call(write(), timeout_s + 5)

    def close_input(self) -> None:
        """Send its end."""

        async def end() -> None:
            if not self._process.is_closing():
                self._process.stdin.write_eof()

        with contextlib.suppress(DeviceError, OSError, TimeoutError):
            self._transport.call(end(), _CONNECT_S)

    def read(self, timeout_s: float) -> bytes:
        """Some of standard output."""
        return self._transport.call(
            _in_time(lambda: self._process.stdout.read(_CHUNK), timeout_s), timeout_s + _CONNECT_S
        )

    def errors(self) -> bytes:
        """The last part of standard error."""
        return bytes(self._errors)

    def status(self, timeout_s: float) -> int:
        """Exit status."""

        async def ended() -> int | None:
            await _in_time(self._process.wait_closed, timeout_s)
            if self._collecting is not None:
                await asyncio.wait_for(self._collecting, timeout_s)
            return self._process.returncode

        status = self._transport.call(ended(), timeout_s + 5)
        if status is None:
            raise DeviceLostError(f"device {self._transport.name!r}: the connection was cut")
        return status

    def close(self) -> None:
        """Let go."""

        async def close() -> None:
            self._process.close()

        with contextlib.suppress(DeviceError, OSError, TimeoutError):
            self._transport.call(close(), _CONNECT_S)

    async def _collect_errors(self) -> None:
        async def collect() -> None:
            with contextlib.suppress(Exception):  # what is wrong with the connection is told by its output
                while more := await self._process.stderr.read(_CHUNK):
                    self._errors += more
                    del self._errors[:-_MOST_ERRORS]

        self._collecting = asyncio.create_task(collect())


class _Loop:
    """An event loop in a thread of its own: asyncssh is asynchronous, measuring is not."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="nas-edge ssh", daemon=True).start()

    def call(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """Run it there, wait for it here. Raises TimeoutError, and whatever it raises."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except BaseException:
            future.cancel()
            raise

    def post(self, callback: Any) -> None:
        """Have something called there."""
        self._loop.call_soon_threadsafe(callback)


async def _in_time(work: Callable[[], Coroutine[Any, Any, T]], timeout_s: float) -> T:
    """Await it for so long. Whoever was suspended meanwhile finds the time over, and the answer there: look again."""
    try:
        return await asyncio.wait_for(work(), timeout_s)
    except TimeoutError:
        return await asyncio.wait_for(work(), _LOOK_AGAIN_S)


def _asyncssh() -> Any:
    """The package. Raises MissingExtraError."""
    try:
        import asyncssh
    except ImportError as error:
        raise MissingExtraError("asyncssh", "devices", "reaching a device over ssh") from error
    logging.getLogger("asyncssh").setLevel(logging.CRITICAL)  # what matters is raised; its log would name keys
    return asyncssh


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:300] or type(text).__name__
