"""Measuring many artefacts in one sitting: shuffled rounds, a reference kernel, a journal, one estimator."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from nas_edge.devices import Device, LocalDevice
from nas_edge.errors import DeviceError, MeasurementError
from nas_edge.profiling.isolation import isolated
from nas_edge.profiling.journal import Journal
from nas_edge.profiling.measurement import Measurement
from nas_edge.profiling.pool import SessionPool, WorkItem
from nas_edge.profiling.protocol import Protocol, Regime
from nas_edge.profiling.reference import ReferenceKernel, reference_identity
from nas_edge.profiling.sitting import Sitting
from nas_edge.progress import Progress, silent
from nas_edge.runtimes import Runtime
from nas_edge.runtimes.building import BuildingRuntime
from nas_edge.runtimes.visits import RemoteRuntime

_LOCK_WAIT_S = 120.0
_RESIDENT_BYTES = 2 * 2**30
_RESIDENT_SHARE = 10  # of the memory: a loaded model takes two to three times its file


def measure_one(
    model: bytes,
    runtime: Runtime,
    device: Device,
    protocol: Protocol | None = None,
    *,
    name: str = "model",
    precision: str = "fp32",
    threads: int = 1,
    reference_quiet_ms: float | None = None,
    progress: Progress | None = None,
) -> Measurement:
    """One artefact under the thorough protocol; see `measure_many`."""
    found = measure_many(
        [WorkItem(name, model)],
        runtime,
        device,
        protocol or Protocol.thorough(),
        precision,
        threads,
        reference_quiet_ms=reference_quiet_ms,
        progress=progress,
    )
    return found[name]


def measure_many(
    items: Sequence[WorkItem],
    runtime: Runtime,
    device: Device,
    protocol: Protocol | None = None,
    precision: str = "fp32",
    threads: int = 1,
    journal: Path | None = None,
    progress: Progress | None = None,
    *,
    reference: Callable[[], float] | None = None,
    reference_quiet_ms: float | None = None,
) -> dict[str, Measurement]:
    """Measure all items in one sitting; blocks and whole networks alike.

    The process is pinned to its quietest core(s), without garbage collection, both restored afterwards, and has the
    device's lock throughout. With a `RemoteRuntime` all of that is done on the other machine.

    Args:
        items: in any order; names unique.
        runtime: what runs them.
        device: where.
        protocol: `Protocol.default()` by default.
        precision: handed to the runtime.
        threads: handed to the runtime; as many cores are used.
        journal: a file that every visit is appended to. If it is there already, its visits count: a killed
            measurement loses the visit it was in. Whoever is done with the results deletes it.
        progress: told about twice a second; its unit is quiet visits.
        reference: a reading of the reference kernel in ms; by default `ReferenceKernel` where the runtime runs,
            and a constant on devices without an agent. Its attribute `identity`, if it has one, goes into the result.
        reference_quiet_ms: its quiet value if known (from the table whose figures the result is compared with: see
            `TableHeader.quiet_reference_ms`), else that of this sitting.

    Returns:
        a `Measurement` for each name.

    Raises:
        MeasurementError: nothing to measure, names not unique, a model that does not load, times that are not finite
            and positive or that add up to more than has passed (the clock jumped) time after time, more threads than
            cores.
        DeviceError: the device is locked or gone. FormatError, StorageError: see `Journal`.

    What was measured until then is in the journal, if there is one, and the message says so.

    """
    protocol = protocol or Protocol.default()
    if isinstance(runtime, BuildingRuntime):
        protocol = protocol.for_processes()
    if not items:
        raise MeasurementError("there is nothing to measure")
    if len({item.name for item in items}) < len(items):
        raise MeasurementError("names of work items must be unique")
    remote = runtime if isinstance(runtime, RemoteRuntime) else None
    local = remote is None and isinstance(device, LocalDevice)
    kernel = _kernel_of(reference, local, remote)
    if protocol.regime is Regime.COLD and not local and remote is None:
        raise MeasurementError(f"device {device.name!r}: the cold regime is measured on the local device only")
    fingerprint = device.fingerprint()
    conditions = {
        "device": fingerprint.machine,
        "runtime": runtime.name,
        "runtime_version": runtime.version(),
        "precision": precision,
        "threads": threads,
        "regime": str(protocol.regime),
        "reference": kernel,
    }
    report = progress or silent
    report(0, len(items) * protocol.rounds, f"measuring on device {device.name!r}")
    with device.lock(_LOCK_WAIT_S), Journal(journal, conditions) as book:
        if isinstance(runtime, BuildingRuntime):
            runtime.build_ahead([item.model for item in items], precision, report)
        state = device.state()
        with _isolated(threads, local, remote) as cores:
            sitting = Sitting(
                items,
                protocol,
                book,
                reference or (remote.reading if remote else ReferenceKernel() if local else lambda: 1.0),
                reference_quiet_ms,
                watch_cpu=local and threads == 1,
                cache_bytes=fingerprint.cache_bytes,
            )
            resident = min(_RESIDENT_BYTES, fingerprint.memory_bytes // _RESIDENT_SHARE or _RESIDENT_BYTES)
            with SessionPool(items, runtime, precision, threads, resident) as pool:
                try:
                    sitting.measure(pool, report)
                except (DeviceError, MeasurementError) as error:
                    if journal is None or not book.visits:
                        raise
                    raise type(error)(
                        f"{error}; the {len(book.visits)} visits until then are kept in {journal}: "
                        "the same command goes on from there"
                    ) from error
    interference = sitting.interference()
    return {
        item.name: Measurement(
            name=item.name,
            artefact_sha256=item.sha256,
            visits=sitting.judged(item),
            runtime=runtime.name,
            runtime_version=runtime.version(),
            precision=precision,
            threads=threads,
            batch=sitting.last(item).batch,
            protocol=protocol,
            device=fingerprint,
            state=state,
            reference_quiet_ms=sitting.quiet_ms,
            date=sitting.last(item).date,
            reference_kernel=kernel,
            cores=cores,
            interference=interference,
        )
        for item in items
    }


def _isolated(
    threads: int, local: bool, remote: RemoteRuntime | None
) -> contextlib.AbstractContextManager[tuple[int, ...]]:
    if remote is not None:
        return remote.isolated(threads)
    return isolated(threads) if local else contextlib.nullcontext(())


def _kernel_of(reference: Callable[[], float] | None, local: bool, remote: RemoteRuntime | None) -> str:
    if reference is not None:
        return str(getattr(reference, "identity", ""))
    if remote is not None:
        return remote.reference_identity()
    return reference_identity() if local else ""
