"""The same contract on a real Ray cluster of this machine's cores."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas_edge.errors import MissingExtraError, WorkerError
from nas_edge.spreading import Executor
from nas_edge.spreading.ray_cluster import RayCluster
from tests.spreading.contract import ExecutorContract, pids_of
from tests.spreading.work import Squares, marked

ROOT = Path(__file__).resolve().parent.parent.parent


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"'ray': pip install 'nas-edge\[cluster\]'"):
        list(RayCluster("ray").run(Squares(marked(tmp_path)), range(3)))


@pytest.mark.slow
class TestRayCluster(ExecutorContract):
    """Ray begins with the first call of a test and ends with it: a minute for all."""

    @pytest.fixture
    def executor(self, monkeypatch: pytest.MonkeyPatch) -> Executor:
        pytest.importorskip("ray", reason="needs the extra 'cluster'")
        monkeypatch.setenv("PYTHONPATH", str(ROOT))  # workers import tests.spreading.work
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        return RayCluster("ray")

    def test_several_workers_open_the_work_once_each(self, executor: Executor, tmp_path: Path) -> None:
        found = list(executor.run(Squares(marked(tmp_path), seconds=0.1), range(30)))
        workers = pids_of(found)
        assert len(workers) > 1 or os.cpu_count() == 1
        assert {path.name for path in tmp_path.glob("opened-*")} == {f"opened-{pid}" for pid in workers}

    def test_the_task_of_a_dead_worker_is_repeated(self, executor: Executor, tmp_path: Path) -> None:
        found = list(executor.run(Squares(marked(tmp_path), deadly=(4,)), range(12)))
        assert (tmp_path / "died-at-4").exists()
        assert sorted((number, square) for number, (square, _) in found) == [(i, i * i) for i in range(12)]

    def test_a_task_that_kills_every_worker_is_told(self, executor: Executor, tmp_path: Path) -> None:
        with pytest.raises(WorkerError, match="could not do a task in 4 attempts"):
            list(executor.run(Squares(marked(tmp_path), deadly=(1,), always=True), range(3)))

    def test_a_cluster_that_is_not_there_is_one_line_and_keeps_no_other_from_working(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        pytest.importorskip("grpc", reason="needs the extra 'cluster'")
        with pytest.raises(WorkerError, match=r"cluster ray://127\.0\.0\.1:9: cannot be reached \(.*\)"):
            list(RayCluster("ray://127.0.0.1:9").run(Squares(marked(tmp_path)), range(3)))
        assert len(list(executor.run(Squares(marked(tmp_path)), range(3)))) == 3


@pytest.fixture
def running_cluster() -> Iterator[dict[str, str]]:
    """The environment of a process that knows a cluster which somebody else started, and its token."""
    pytest.importorskip("ray", reason="needs the extra 'cluster'")
    pytest.importorskip("grpc", reason="needs the extra 'cluster'")  # for those that come from afar
    port, home = 6400 + os.getpid() % 200, tempfile.mkdtemp(prefix="ray")  # sockets in it: a short path
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment = os.environ | token | {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", f"--port={port}"]
    process = subprocess.Popen(
        [*command, "--num-cpus=2", "--include-dashboard=false", f"--temp-dir={home}",
         f"--ray-client-server-port={port + 300}"], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "Ray runtime started" in line:
            break
    assert process.poll() is None, "".join(lines)
    yield environment | {"RAY_ADDRESS": f"127.0.0.1:{port}", "FROM_AFAR": f"ray://127.0.0.1:{port + 300}"}
    os.killpg(process.pid, signal.SIGTERM)
    process.stdout.close()
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    shutil.rmtree(home, ignore_errors=True)


TWICE = """
import sys
from pathlib import Path
from nas_edge.spreading.ray_cluster import RayCluster
from tests.spreading.work import Squares, marked

for turn in range(2):
    work = Squares(marked(Path(sys.argv[1]) / str(turn)))
    print(sorted(number for number, _ in RayCluster(sys.argv[2]).run(work, range(6))), flush=True)
"""


@pytest.mark.slow
def test_a_cluster_that_runs_already_is_joined_from_within_and_from_afar_and_left_running(
    running_cluster: dict[str, str], tmp_path: Path
) -> None:
    for address in ("ray", "ray://auto", running_cluster["FROM_AFAR"]):
        done = subprocess.run(
            [sys.executable, "-c", TWICE, str(tmp_path / address.replace("/", "")), address],
            env=running_cluster, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.stdout.splitlines() == ["[0, 1, 2, 3, 4, 5]"] * 2, done.stderr
