"""What every executor must do; subclasses say which it is."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from nas_edge.errors import DataError
from nas_edge.spreading import Executor
from tests.spreading.work import Squares, marked


class ExecutorContract:
    """Subclass it with a fixture `executor`."""

    @pytest.fixture
    def executor(self) -> Executor:
        raise pytest.UsageError("a subclass of ExecutorContract provides the fixture 'executor'")

    def test_every_task_is_done_once(self, executor: Executor, tmp_path: Path) -> None:
        work = Squares(marked(tmp_path))
        found = list(executor.run(work, range(9)))
        assert sorted((number, square) for number, (square, _) in found) == [(i, i * i) for i in range(9)]

    def test_nothing_to_do_is_done_at_once(self, executor: Executor, tmp_path: Path) -> None:
        assert list(executor.run(Squares(marked(tmp_path)), [])) == []
        assert [path.name for path in tmp_path.iterdir()] == ["parent"]

    def test_a_mistake_keeps_its_kind_and_words(self, executor: Executor, tmp_path: Path) -> None:
        work = Squares(marked(tmp_path), wrong=(3,))
        with pytest.raises(DataError, match=r"^picture 3: is damaged$") as raised:
            list(executor.run(work, range(6)))
        assert raised.value.exit_code == 2

    def test_closed_early_it_ends_and_can_be_used_again(self, executor: Executor, tmp_path: Path) -> None:
        work = Squares(marked(tmp_path))
        with closing(executor.run(work, range(50))) as results:
            first = next(results)
        assert first[1][0] == first[0] ** 2
        assert len(list(executor.run(work, range(3)))) == 3


def pids_of(found: list[tuple[int, tuple[int, int]]]) -> set[int]:
    """Processes that did the work, this one left out."""
    return {pid for _, (_, pid) in found} - {os.getpid()}
