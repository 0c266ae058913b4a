"""An arm64 Debian userland on this machine, emulated in user mode and reached over a real sshd: every command of a
session runs in it. `tests/devices/make_arm64.sh` makes the userland.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import sshd as servers

QEMU, PROOT = shutil.which("qemu-aarch64-static"), shutil.which("proot")
# An implementer that no maker has: the host's own /proc/cpuinfo is of another architecture, which libraries choke on.
CPUINFO = """processor\t: 0
BogoMIPS\t: 125.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid
CPU implementer\t: 0x00
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0x051
CPU revision\t: 0

"""
_ENTER = """#!{python}
# What sshd runs for every command. proot waits for all that was started, a real system for the command alone.
import os, pathlib, signal, subprocess, sys, tempfile, time
command = os.environ["SSH_ORIGINAL_COMMAND"]
status = tempfile.NamedTemporaryFile(dir={root!r}, prefix="status-")
shell = ["/bin/sh", "-c", '/bin/sh -c "$1"; echo $? > "$2"', "sh", command, status.name]
environment = dict(os.environ, QEMU_CPU=pathlib.Path({root!r}, "cpu").read_text())
child = subprocess.Popen([*{argv!r}, *shell], env=environment, start_new_session=True)
while child.poll() is None and not os.path.getsize(status.name):
    time.sleep(0.01)
code = int(pathlib.Path(status.name).read_text() or child.returncode)
try:
    os.killpg(child.pid, signal.SIGKILL)
except OSError:
    pass
sys.exit(code)
"""


def userland() -> Path:
    """Where it lies. Skips where there is none, or nothing to run it with."""
    root = Path(os.environ.get("NAS_EDGE_ARM64") or Path.home() / ".cache" / "nas-edge-tests" / "arm64")
    if not (root / ".complete").exists():
        pytest.skip(f"needs an arm64 userland at {root}: tests/devices/make_arm64.sh makes one")
    if not QEMU or not PROOT:
        pytest.skip("needs qemu-aarch64-static and proot (Debian: qemu-user-static, proot)")
    return root


@pytest.fixture(scope="session")
def arm64(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Sshd]:
    """A server whose sessions are in the userland."""
    place = userland()
    if not servers.SSHD or not servers.KEYGEN:
        pytest.skip("needs sshd and ssh-keygen (Debian: openssh-server)")
    root = tmp_path_factory.mktemp("arm64")
    port = servers.free_port()
    servers.make_key(root / "host_key")
    servers.make_key(root / "home" / ".ssh" / "id_ed25519")
    (root / "tmp").mkdir()
    shutil.copy(root / "home" / ".ssh" / "id_ed25519.pub", root / "authorized_keys")
    (root / "cpuinfo").write_text(CPUINFO)
    bound = ("/dev", "/proc", f"{root / 'cpuinfo'}:/proc/cpuinfo", str(root))
    argv = [PROOT, "-q", QEMU, "-r", str(place), *(word for path in bound for word in ("-b", path)), "-w", "/"]
    (root / "cpu").write_text("cortex-a76")
    enter = root / "enter"
    enter.write_text(_ENTER.format(python=sys.executable, root=str(root), argv=argv))
    enter.chmod(0o755)
    config = servers._CONFIG.format(port=port, root=root)
    (root / "config").write_text(f"{config}ForceCommand {enter}\n")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with open(root / "log", "wb") as log:
        process = subprocess.Popen([servers.SSHD, "-D", "-e", "-f", root / "config"], stderr=log)
    server = servers.Sshd(root, port, process)
    try:
        servers._wait(server)
        server.known()
        yield server
    finally:
        server.cut()
        process.terminate()
        process.wait(10)
