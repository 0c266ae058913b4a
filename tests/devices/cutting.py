"""A TCP proxy that cuts the connection after so many bytes, once; and what must hold then for every device."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from nas_edge.errors import DeviceError, DeviceLostError


class CuttingProxy:
    """Passes everything on to 127.0.0.1:`port`, until `cut_after(n)` bytes went through it."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._left: int | None = None
        self._lost = False
        self._guard = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.passed = 0
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, count: int) -> None:
        """The next `count` bytes pass, then all connections are cut; later ones pass again."""
        with self._guard:
            self._left = count

    def lost_after(self, count: int) -> None:
        """The next `count` bytes pass; then nothing ever does."""
        self._lost = True
        self.cut_after(count)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                self._pairs.append((client, server))
                for a, b in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    def _pump(self, source: socket.socket, to: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(16384):
                with self._guard:
                    cut = self._left is not None and len(data) >= self._left
                    if cut:
                        data, self._left = data[: self._left], None
                    elif self._left is not None:
                        self._left -= len(data)
                    self.passed += len(data)
                to.sendall(data)
                if cut:
                    self.cuts += 1
                    if self._lost:
                        self._listener.shutdown(socket.SHUT_RDWR)
                    self._cut()
                    return
        for end in (source, to):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _cut(self) -> None:
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


STEPS = ("push", "pull", "run", "talk", "state", "lock")


class CutContract:
    """A subclass provides `proxy`, and `far`: a device reached through it with a patience of seconds."""

    @pytest.mark.slow
    @pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99])
    @pytest.mark.parametrize("step", STEPS)
    def test_a_cut_at_any_point_of_any_step_is_survived(self, far, proxy, tmp_path, step, share):
        self.survives(far, proxy, tmp_path, step, share)

    @pytest.mark.parametrize("step", ["push", "run", "lock"])
    def test_a_cut_in_the_middle_of_any_step_is_survived(self, far, proxy, tmp_path, step):
        self.survives(far, proxy, tmp_path, step, 0.5)

    def survives(self, far, proxy, tmp_path, step, share):
        data = os.urandom(400_000)
        (tmp_path / "there").write_bytes(data)
        far.push(tmp_path / "there", "kept")
        script = tmp_path / "work.sh"
        script.write_text("echo begun; head -c 200000 /dev/zero; sleep 0.05; echo; echo done")
        far.push(script, "work.sh")

        def push():
            far.push(tmp_path / "there", "pushed")

        def pull():
            far.pull("kept", tmp_path / "back")
            assert (tmp_path / "back").read_bytes() == data

        def run():
            assert far.run(["sh", "work.sh"], 20).stdout.endswith("done\n")

        def talk():
            process = far.start(["sh", "work.sh"])
            try:
                assert process.receive(10) == "begun"
                assert len(process.receive(10)) == 200_000
                assert process.receive(10) == "done"
            finally:
                process.close()

        def state():
            assert far.state().load is not None

        def lock():
            with far.lock():
                assert far.run(["true"], 10).status == 0

        work = {"push": push, "pull": pull, "run": run, "talk": talk, "state": state, "lock": lock}[step]
        before = proxy.passed
        work()
        cost = proxy.passed - before
        proxy.cut_after(max(1, int(cost * share)))
        begun = time.monotonic()
        try:
            work()
        except DeviceLostError:
            assert step in ("run", "talk", "lock"), "what may be done twice is done again"
        assert time.monotonic() - begun < 60
        if proxy.cuts:  # the connection is made anew, and everything is where it was
            work()
            far.pull("kept", tmp_path / "again")
            assert (tmp_path / "again").read_bytes() == data

    def test_a_command_is_killed_when_the_connection_is_cut(self, far, proxy, tmp_path):
        marker = tmp_path / "alive"
        threading.Timer(0.7, proxy.cut_after, [1]).start()
        ticker = f"while sleep 0.05; do date > {marker}; echo tick; done"
        with pytest.raises(DeviceLostError, match="cut while sh ran, which was stopped"):
            far.run(["sh", "-c", ticker], 20)
        time.sleep(0.5)
        marker.unlink()
        time.sleep(0.4)
        assert not marker.exists()

    def test_the_lock_is_still_ours_after_a_cut(self, far, proxy, other):
        with far.lock():
            proxy.cut_after(1)
            with contextlib.suppress(DeviceLostError):
                far.run(["true"], 10)
            far.run(["true"], 10)
            assert proxy.cuts == 1
            with pytest.raises(DeviceError, match="is measuring on it"), other.lock():
                pass
        with other.lock():
            pass

    def test_a_device_that_does_not_come_back_is_given_up(self, far, proxy):
        far.run(["true"], 10)
        proxy.close()
        begun = time.monotonic()
        for _ in range(2):
            with pytest.raises(DeviceLostError, match=r"cut|reached|back"):
                far.run(["true"], 10)
        assert time.monotonic() - begun < 60

    def test_whoever_vanishes_leaves_nothing_behind(self, far, proxy, tmp_path):
        (tmp_path / "there").touch()
        far.push(tmp_path / "there", "file")
        where = Path(far.directory)
        lock = far.lock()
        lock.__enter__()
        proxy.close()
        for _ in range(80):
            if not where.exists() and not list(where.parent.glob("*.lock")):
                return
            time.sleep(0.1)
        pytest.fail("it is still there")
