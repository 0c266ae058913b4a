"""A disk that is really full, read-only for a while, or takes no large file: training goes on, and saves later."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nas_edge.errors import StorageError
from nas_edge.training.running import events
from nas_edge.training.running.history import History

from .test_events import events as read_events

ROOT = Path(__file__).resolve().parent.parent.parent
COMMON = f"""
import csv, os, resource, subprocess, sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from safetensors import safe_open
from tests.training.conftest import TEMPLATE, striped_dataset
from tests.training.test_loop import RECIPE
from tests.training.test_never_losing_a_run import setting
from nas_edge.training.running.loop import CHECKPOINT, train
out, notes = Path(sys.argv[1]), []
at = setting(striped_dataset(), TEMPLATE, out, replace(RECIPE, epochs=6))
def saved_step():
    with safe_open(str(out / CHECKPOINT), "pt") as handle:
        return __import__("json").loads(handle.metadata()["position"])["step"]
"""
MOUNTED = """
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(out)], check=True)
def mount(how):
    subprocess.run(["mount", "-o", f"remount,{how}", str(out)], check=True)
def told(done, total, text):
    notes.append(text)
    if text.startswith("epoch 2") and not (out / "ballast").exists() and "full" not in done_already:
        done_already.add("full")
        with open(out / "ballast", "wb", buffering=0) as ballast:  # until there is no room for another byte
            try:
                while ballast.write(bytes(4096)):
                    pass
            except OSError:
                pass
    if text.startswith("epoch 3") and "read" not in done_already:
        done_already.add("read")
        assert saved_step() == 6
        (out / "ballast").unlink()
        mount("ro")
    if text.startswith("epoch 4") and "write" not in done_already:
        done_already.add("write")
        assert saved_step() == 6
        mount("rw")
done_already = set()
done = train(at, progress=told)
unsaved = [note for note in notes if "not saved" in note]
assert done.saved and saved_step() == 36, (done, saved_step())
assert any("the disk is full" in note for note in unsaved), unsaved
assert any("Read-only file system" in note for note in unsaved), unsaved
assert all("training goes on" in note for note in unsaved)
assert not list(out.glob(".*tmp"))
with open(out / "history.csv") as lines:
    assert [row["epoch"] for row in csv.DictReader(lines)] == list("123456")
"""
LIMITED = """
limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
def told(done, total, text):
    notes.append(text)
    if text.startswith("epoch 5"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit))
done = train(at, progress=told)
unsaved = [note for note in notes if "not saved" in note]
assert len(unsaved) == 2 and all("File too large" in note for note in unsaved), unsaved
assert not done.saved and saved_step() == 24
assert not list(out.glob(".*tmp"))
"""


def can_mount() -> bool:
    """Whether a file system in memory may be mounted in a name space of its own."""
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        return False
    tried = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True, check=False,
    )  # fmt: skip
    return tried.returncode == 0


@pytest.mark.skipif(not can_mount(), reason="needs unshare and the right to mount a file system in memory")
def test_a_disk_that_is_full_then_read_only_then_well_again_loses_nothing(tmp_path: Path) -> None:
    apart = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", COMMON + MOUNTED, str(tmp_path)]
    done = subprocess.run(apart, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_file_that_the_system_refuses_to_let_grow_ends_no_training_and_is_told_in_the_end(tmp_path: Path) -> None:
    command = [sys.executable, "-c", COMMON + LIMITED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_behind_half_a_record_nothing_is_written_and_nothing_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, whole = History(tmp_path, 0), events.record

    def torn(data: bytes) -> bytes:
        (path,) = tmp_path.glob("*tfevents*")
        with open(path, "ab") as handle:
            handle.write(whole(data)[:20])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    history.add(1, 10, 1.0, {"loss": 2.0})
    with monkeypatch.context() as patched:
        patched.setattr(events, "record", torn)
        with pytest.raises(StorageError):
            history.add(2, 20, 2.0, {"loss": 1.5})
    history.add(3, 30, 3.0, {"loss": 1.0})
    first, second = sorted(tmp_path.glob("*tfevents*"))
    with pytest.raises(Exception, match="buffer"):  # as TensorBoard: not beyond this
        read_events(first)
    assert [event.step for event in read_events(second)] == [0, 20, 30]
