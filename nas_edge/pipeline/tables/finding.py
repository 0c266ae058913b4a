"""Which latency table a target has: found, loaded, and what a user should be told. Light: a search begins here."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge import resources
from nas_edge.errors import ConfigError, NasEdgeError, UnknownNameError
from nas_edge.latency import LatencyTable, TableHeader, read_header, read_table
from nas_edge.latency.nearest import Wanted, device_class, distance, nearest, transfer
from nas_edge.latency.table import MILLISECONDS, directory_name
from nas_edge.latency.table_io import HEADER_FILE
from nas_edge.origin import Origin, OriginKind
from nas_edge.pipeline.devices.known import recall
from nas_edge.spaces import Precision, SearchSpace

if TYPE_CHECKING:
    from nas_edge.devices import DeviceFingerprint
    from nas_edge.pipeline.devices.targets import Target

TABLES = "latency_tables"
MICROCONTROLLER = "mcu"
"""The runtime whose tables hold counts, from which milliseconds are modelled."""
_CLASSES = {"tensorrt": "gpu", "torch-cuda": "gpu", "mcu": "mcu", "litert": "mobile-cpu", "ethos-u": "npu"}
"""Of devices by runtime, where nothing else is known; ONNX Runtime is at home on phones and servers."""
_PACKAGES = {"litert": "ai-edge-litert"}  # of runtimes whose package has another name
_ANOTHER_CLASS = 32.0  # of `nearest.distance`: a GPU says nothing about a CPU's proportions


@dataclass(frozen=True)
class FoundTable:
    """A table for a target.

    Attributes:
        table: to predict from.
        path: its directory, None for a table made up on the spot.
        own: measured or published for this target (a first contact counts); otherwise it is the nearest table or a
            prior, and a reachable target deserves a first contact.
        notes: what a user should be told: other runtime, other version, a prior.

    """

    table: LatencyTable
    path: Path | None
    own: bool
    notes: tuple[str, ...] = ()


def load_table_for(target: Target, regime: str = "hot") -> FoundTable:
    """The table of a target: where the user stands, `$NAS_EDGE_HOME`, the defaults, the cache of first contacts.

    Without one: the nearest table of the same class of device, else a prior of MACs and layers; both are `modelled`.

    Raises:
        FormatError, ConfigError, TableError: the table that was found is damaged (file and line).

    """
    if target.runtime == MICROCONTROLLER:
        from nas_edge.pipeline.tables.modelled import modelled_table, outdated

        if (counted := modelled_table(target)) is not None:
            return FoundTable(*counted, own=True, notes=outdated(counted[0].header))
    facts = device_facts(target)
    for path in _own_directories(target, facts, regime):
        table = read_table(path)
        header = table.header
        if (header.unit, header.threads, header.regime) == (MILLISECONDS, target.threads, regime):
            return FoundTable(table, path, _is_own(table.header, target), _differences(table.header, target))
    wanted = Wanted(target.runtime, target.precision, target.threads, regime, facts)
    closest = nearest_table(wanted, own_directory(target, facts))
    if closest is not None:
        base = read_table(closest)
        source = f"{base.header.describe()}, unchanged"
        header = replace(_modelled_header(target, facts, regime, source), space=base.header.space)
        table = transfer(base, header, SearchSpace.named("lite0"), ())
        return FoundTable(table, None, False, (f"no table of {target.name}; modelled from {source}",))
    source = f"prior for a device of class {device_class(facts)}: MACs and layers alone"
    table = LatencyTable(_modelled_header(target, facts, regime, source), {})
    return FoundTable(table, None, False, (f"no table of {target.name}; {source}, wrong by up to a factor of three",))


def all_tables() -> tuple[Path, ...]:
    """Directories of all tables at hand, those of higher precedence first; the cache is left out."""
    found: dict[str, Path] = {}
    for root in resources.candidates(TABLES):
        for file in sorted(root.glob(f"*/*/{HEADER_FILE}")):
            found.setdefault(str(file.parent.relative_to(root)), file.parent)
    return tuple(found.values())


def nearest_table(wanted: Wanted, own: str = "") -> Path | None:
    """The table at hand to start from for a device without one; None where all are of another class of device.

    Tables that were carried over are left out: they know no more than the one that they came from.

    Args:
        wanted: what a table is looked for.
        own: directory of the device's own tables, of other conditions: of equally near ones they come first.

    """
    headers: dict[Path, TableHeader] = {}
    sizes: dict[Path, int] = {}
    for path in all_tables():
        with contextlib.suppress(NasEdgeError):  # another device's damaged table is not this device's trouble
            header, rows = read_header(path / HEADER_FILE)
            # A prior made of networks is its own device's alone.
            if rows["blocks"] and header.unit == MILLISECONDS and not header.transfer:
                headers[path], sizes[path] = header, rows["blocks"]
    # Of tables that are equally like the device the one that knows more blocks: the first of equals is taken.
    order = sorted(headers, key=lambda path: (path.parent.name != own, -sizes[path]))
    closest = nearest({path: headers[path] for path in order}, wanted)
    return closest if closest is not None and distance(headers[closest], wanted) < _ANOTHER_CLASS else None


def known_tables(path: Path | None, header: TableHeader) -> dict[str, LatencyTable]:
    """The other tables at hand by name, to tell figures that were copied from them; those of one's own target left out.

    Args:
        path: directory of the table in question.
        header: of that table.

    """
    found: dict[str, LatencyTable] = {}
    for other in all_tables():
        own = other.parent.name == header.target or (path is not None and other.resolve() == path.resolve())
        with contextlib.suppress(NasEdgeError):  # a damaged table says nothing about this one
            if not own:
                found[f"{other.parent.name}/{other.name}"] = read_table(other)
    return found


def table_path(name: str) -> Path:
    """The directory that a user means by `name`: a path, or `<target>/<runtime>-<precision>` below latency_tables.

    Raises:
        UnknownNameError: neither exists; near names are given. ConfigError: a directory that holds no table.

    """
    if (Path(name) / HEADER_FILE).is_file():
        return Path(name)
    for path in all_tables():
        if f"{path.parent.name}/{path.name}" == name:
            return path
    if Path(name).is_dir():
        raise ConfigError(f"{name}: is a directory without {HEADER_FILE}; name one of <target>/<runtime>-<precision>")
    raise UnknownNameError("table", name, [f"{path.parent.name}/{path.name}" for path in all_tables()])


def device_facts(target: Target) -> dict[str, Any]:
    """What is known of a target's device without asking it: the fingerprint of this machine or of one that was reached
    before, what the table that it names says, or its class alone.
    """
    if target.device.kind == "local":
        from nas_edge.devices.fingerprint import local_fingerprint

        return facts_of(local_fingerprint(), target.runtime)
    if (known := recall(target.device)) is not None:
        return facts_of(known.fingerprint, target.runtime)
    for path in resources.candidates(f"{TABLES}/{target.table}") if target.table else ():
        with contextlib.suppress(NasEdgeError):  # a damaged table is told when it is read
            return {"class": device_class(read_header(path / HEADER_FILE)[0].device)}
    if target.runtime in _CLASSES:
        return {"class": _CLASSES[target.runtime]}
    return {"class": "mobile-cpu" if target.device.kind == "adb" else "cpu"}


def facts_of(fingerprint: DeviceFingerprint, runtime: str = "") -> dict[str, Any]:
    """A fingerprint as the `device` of a table's header; ARM's implementer codes tell boards and phones, a runtime for
    GPUs those.
    """
    kind = "mobile-cpu" if fingerprint.vendor.startswith("0x") else "cpu"
    kind = "gpu" if _CLASSES.get(runtime) == "gpu" else kind
    return {**fingerprint.to_json(), "slug": fingerprint.slug, "class": kind}


def own_directory(target: Target, facts: Mapping[str, Any]) -> str:
    """The directory below latency_tables that tables of a target's own device lie in."""
    return target.table.partition("/")[0] or str(facts.get("slug", target.name))


def _own_directories(target: Target, facts: Mapping[str, Any], regime: str) -> list[Path]:
    """As the target says, else by its CPU, then its first contact. Of a device that was reached what was measured on it
    comes first, and what was published for its kind last.
    """
    usual = directory_name(target.runtime, target.precision, target.threads, regime)
    reached = "slug" in facts and target.device.kind != "local"
    if reached:
        first, last = [f"{target.name}/{usual}", f"{facts['slug']}/{usual}"], [target.table]
    else:
        first, last = [target.table or f"{facts.get('slug', target.name)}/{usual}"], []
    paths = [path for name in first for path in resources.candidates(f"{TABLES}/{name}")]
    paths.append(cache_path(target, facts, regime, _installed_version(target)))
    paths += [path for name in last if name for path in resources.candidates(f"{TABLES}/{name}")]
    return [path for path in paths if (path / HEADER_FILE).is_file()]


def _is_own(header: TableHeader, target: Target) -> bool:
    """Whether figures stand for this target: a prior, or another runtime's table, does not for a device at hand."""
    if target.device.kind in ("none", "local"):
        return True
    prior = header.origin.kind is OriginKind.MODELLED and not (header.transfer or header.origin.machine)
    return header.runtime == target.runtime and not prior


def _differences(header: TableHeader, target: Target) -> tuple[str, ...]:
    notes = []
    if header.runtime != target.runtime:
        notes.append(f"the table's runtime is {header.runtime}, networks are exported for {target.runtime}")
    if header.precision.value != target.precision:
        notes.append(f"the table is of {header.precision.value}, the target of {target.precision}")
    if header.runtime == target.runtime and header.runtime_version:
        installed = _installed_version(target)
        if installed and installed != header.runtime_version:
            notes.append(f"the table is of {header.runtime} {header.runtime_version}, {installed} is installed")
    return tuple(notes)


def _modelled_header(target: Target, facts: Mapping[str, Any], regime: str, source: str) -> TableHeader:
    return TableHeader(
        target=str(facts.get("slug", target.name)),
        runtime=target.runtime,
        precision=Precision(target.precision),
        threads=target.threads,
        regime=regime,
        origin=Origin(OriginKind.MODELLED, source=source),
        device=dict(facts),
    )


def _installed_version(target: Target) -> str:
    """Without importing the runtime, which takes longer than a search; "" where it is not installed.

    On another machine: as it was when that was last reached.
    """
    from importlib.metadata import PackageNotFoundError, version

    if target.device.kind not in ("local", "none"):
        known = recall(target.device)
        return known.runtimes.get(target.runtime, "") if known else ""
    try:
        return version(_PACKAGES.get(target.runtime, target.runtime))
    except PackageNotFoundError:
        return ""


def cache_path(target: Target, facts: Mapping[str, Any], regime: str, version: str) -> Path:
    """Where a first contact is kept: by CPU, runtime, its version, precision, threads and regime."""
    name = f"{target.runtime}-{version or 'unknown'}-{target.precision}-t{target.threads}-{regime}"
    return resources.cache_directory() / TABLES / str(facts.get("slug", target.name)) / name
