"""Workers on this machine: they die, are killed and interrupted, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path

import pytest

from nas_edge.errors import ConfigError
from nas_edge.spreading import Executor, Spread, open_executor
from nas_edge.spreading.choosing import Growing
from nas_edge.spreading.processes import InProcess, Processes
from tests.spreading.contract import ExecutorContract, pids_of
from tests.spreading.work import Squares, marked

ROOT = Path(__file__).resolve().parent.parent.parent


class TestInProcess(ExecutorContract):
    @pytest.fixture
    def executor(self) -> Executor:
        return InProcess()

    def test_what_is_opened_is_closed_even_early(self, executor: Executor, tmp_path: Path) -> None:
        with closing(executor.run(Squares(marked(tmp_path)), range(5))) as results:
            next(results)
            assert not (tmp_path / f"closed-{os.getpid()}").exists()
        assert (tmp_path / f"closed-{os.getpid()}").exists()


class TestProcesses(ExecutorContract):
    @pytest.fixture
    def executor(self) -> Executor:
        return Processes(2)

    def test_two_workers_share_the_tasks_and_open_the_work_once(self, executor: Executor, tmp_path: Path) -> None:
        found = list(executor.run(Squares(marked(tmp_path), seconds=0.05), range(24)))
        workers = pids_of(found)
        assert len(workers) == 2
        assert {path.name for path in tmp_path.glob("opened-*")} == {f"opened-{pid}" for pid in workers}

    def test_the_task_of_a_dead_worker_is_repeated(self, executor: Executor, tmp_path: Path) -> None:
        found = list(executor.run(Squares(marked(tmp_path), deadly=(4,), seconds=0.02), range(12)))
        assert (tmp_path / "died-at-4").exists()
        assert sorted((number, square) for number, (square, _) in found) == [(i, i * i) for i in range(12)]

    def test_where_workers_die_and_die_the_rest_is_done_here(self, executor: Executor, tmp_path: Path) -> None:
        found = list(executor.run(Squares(marked(tmp_path), deadly=tuple(range(4)), always=True), range(4)))
        assert {pid for _, (_, pid) in found} == {os.getpid()}
        assert sorted(number for number, _ in found) == [0, 1, 2, 3]

    def test_no_worker_is_left_behind(self, executor: Executor, tmp_path: Path) -> None:
        with closing(executor.run(Squares(marked(tmp_path), seconds=0.05), range(50))) as results:
            next(results)
        workers = [int(path.name.partition("-")[2]) for path in tmp_path.glob("opened-*")]
        assert workers
        assert not any(alive(pid) for pid in workers)


class TestGrowing(ExecutorContract):
    @pytest.fixture
    def executor(self) -> Executor:
        return Growing(2)

    def test_short_work_starts_no_process(self, executor: Executor, tmp_path: Path) -> None:
        assert not pids_of(list(executor.run(Squares(marked(tmp_path)), range(30))))

    def test_long_work_goes_on_in_several_from_where_it_was(self, tmp_path: Path) -> None:
        found = list(Growing(2, worth_s=0.3).run(Squares(marked(tmp_path), seconds=0.05), range(30)))
        assert sorted((number, square) for number, (square, _) in found) == [(i, i * i) for i in range(30)]
        assert {pid for _, (_, pid) in found[:2]} == {os.getpid()}  # the second tells how long one takes
        assert len(pids_of(found)) == 2

    def test_one_core_stays_alone(self, tmp_path: Path) -> None:
        assert not pids_of(list(Growing(1, worth_s=0.0).run(Squares(marked(tmp_path)), range(5))))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def gone(pid: int, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


SCRIPT = """
    import signal, sys
    from pathlib import Path
    from nas_edge.spreading.processes import Processes
    from tests.spreading.work import Squares, marked

    def main():
        marks = marked(Path(sys.argv[1]))
        for number, result in Processes(2).run(Squares(marks, seconds=0.1), range(1000)):
            print(number, flush=True)

    if __name__ == "__main__":
        signal.signal(signal.SIGINT, signal.default_int_handler)  # tests may run where a shell ignores it
        try:
            main()
        except KeyboardInterrupt:
            sys.exit(130)
"""


def started(tmp_path: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """A process in a session of its own with two workers under way."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "marks")], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    for _ in range(4):
        assert process.stdout.readline()
    return process, [int(path.name.partition("-")[2]) for path in (tmp_path / "marks").glob("opened-*")]


def test_ctrl_c_in_a_terminal_ends_all_without_a_word(tmp_path: Path) -> None:
    process, workers = started(tmp_path)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (130, "")
    assert all(gone(pid, 5) for pid in workers)


def test_workers_do_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    process, workers = started(tmp_path)
    process.kill()
    process.communicate(timeout=20)
    assert workers
    assert all(gone(pid, 10) for pid in workers)


def test_what_was_asked_for_is_what_is_opened() -> None:
    assert isinstance(open_executor(Spread(), 2), Growing)
    assert isinstance(open_executor(Spread(workers=1), 2), InProcess)
    assert open_executor(Spread(workers=3), 2) == Processes(3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "1 or more"),
        ({"workers": 2, "cluster": "ray"}, "of this machine"),
        ({"cluster": "dask"}, "write ray, ray://auto or ray://HOST:PORT"),
        ({"cluster": "ray://"}, "write ray, ray://auto or ray://HOST:PORT"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Spread(**options)  # type: ignore[arg-type]
