"""A place to stand: a tiny bundle, a target with a table, and a device whose times are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nas_edge.devices import DeviceFingerprint, DeviceState
from nas_edge.latency import BlockEntry, LatencyTable, TableHeader, table_directory, write_table
from nas_edge.origin import Origin, OriginKind
from nas_edge.profiling import Measurement, Protocol, Visit
from nas_edge.progress import Progress, silent
from nas_edge.spaces import SearchSpace, Template

MS_PER_BYTE = 1e-4
BOARD = """format: 1
description: a board for tests
device: {kind: none}
runtime: onnxruntime
"""


@pytest.fixture(scope="session")
def stand_template(tmp_path_factory: pytest.TempPathFactory, tiny_template: Template) -> Path:
    """A directory with `images/`, `bundles/tiny`, `targets/board.yaml` and the board's table."""
    from tests.bundles import CLASSES, make_bundle, make_images  # late: torch

    root = tmp_path_factory.mktemp("stand")
    data = make_images(root / "images")
    make_bundle(root / "bundles" / "tiny", tiny_template, str(data))
    (root / "targets").mkdir()
    (root / "targets" / "board.yaml").write_text(BOARD)
    space = SearchSpace(tiny_template)
    blocks = {b for term in space.terms(len(CLASSES)) for entry in term.blocks for b in entry}
    header = TableHeader("board", "onnxruntime", origin=Origin(OriginKind.MEASURED, "another machine", "2026-01-01"))
    entries = {block: BlockEntry(MS_PER_BYTE * max(block.weight_bytes, 100)) for block in blocks}
    write_table(LatencyTable(header, entries), table_directory(root / "latency_tables", header))
    return root


@pytest.fixture
def stand(stand_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh current directory that finds all of `stand_template`, and an empty cache."""
    monkeypatch.setenv("NAS_EDGE_HOME", str(stand_template))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


@dataclass
class FakeBench:
    """Takes `factor` times as long as a file has bytes; remembers what it was asked to time."""

    factor: float = 1.0
    width: float = 0.002
    timed: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def device(self) -> None:
        """None is needed."""

    @property
    def runtime(self) -> None:
        """None is needed."""

    def close(self) -> None:
        """Nothing is held."""

    @property
    def machine(self) -> str:
        """What it measures has this origin."""
        return "fake"

    def quiet_reference_ms(self, header: TableHeader) -> float | None:
        """It is always quiet."""
        return None

    def measure(
        self,
        models: Mapping[str, bytes],
        protocol: Protocol,
        precision: str,
        progress: Progress = silent,
        reference_quiet_ms: float | None = None,
        journal: Path | None = None,
    ) -> dict[str, Measurement]:
        """Times that are the same on every machine."""
        self.timed.append(tuple(models))
        return {name: self._measurement(name, len(model), protocol, precision) for name, model in models.items()}

    def _measurement(self, name: str, size: int, protocol: Protocol, precision: str) -> Measurement:
        ms = self.factor * MS_PER_BYTE * size
        visits = tuple(
            Visit(i, tuple(ms * (1 + self.width * ((7 * i + j) % 5 - 2)) for j in range(10)), 1.0, 1.0, True)
            for i in range(protocol.rounds)
        )
        return Measurement(
            name, "0" * 64, visits, "onnxruntime", "1.0", precision, 1, 1, protocol, DeviceFingerprint("fake"),
            DeviceState("2026-01-02"), 1.0, "2026-01-02T00:00:00",
        )  # fmt: skip


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> FakeBench:
    """A fake device in place of the target's."""
    fake = FakeBench()
    monkeypatch.setattr("nas_edge.pipeline.devices.bench.open_bench", lambda target: fake)
    return fake
