"""What can go wrong, one class for each thing a user can get wrong.

Every message says what, where, and what to do. The command line prints it on one line and exits with
`exit_code`: 2 for a mistake of the user's, 1 for a failure.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NasEdgeError(Exception):
    """Base of everything that nas-edge raises on purpose."""

    exit_code = 2


class QuantityError(NasEdgeError):
    """A quantity ("20ms", "256KB", "30M") that does not parse, or is not positive."""


SHORT_LIST = 20  # names that are all told, whether or not one of them is near


class UnknownNameError(NasEdgeError):
    """A target, space, bundle, runtime, strategy ... that nobody registered. Near names are told, and short lists."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        text = f"unknown {kind} {name!r}"
        text += f"; did you mean {' or '.join(near)}?" if near else ""
        if not near or len(names) <= SHORT_LIST:
            text += f"{'' if near else ';'} known: {', '.join(names) or 'none'}"
        super().__init__(f"{text} {hint}".rstrip())


class ArchitectureError(NasEdgeError):
    """An architecture that is not a point of its space."""


class SpaceError(NasEdgeError):
    """A search space whose description is contradictory, or does not fit what it is used with."""


class FormatError(NasEdgeError):
    """A stored file that is damaged, of another kind, or of a format newer than this version reads."""


class ConfigError(NasEdgeError):
    """A YAML or JSON file written by a person with a key or value that is not known (file and line)."""


class UnknownKeyError(ConfigError):
    """A mapping with a key that means nothing there. `keys` leads to it, for readers that know the file's lines."""

    def __init__(self, where: str, keys: tuple[str | int, ...], known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(str(keys[-1]), names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
        self.keys, self.problem = keys, f"unknown key {keys[-1]!r}; {hint}"
        super().__init__(f"{where}: {self.problem}")


class DataError(NasEdgeError):
    """Images or labels that cannot be used: an empty class, a single class, nothing readable."""


class TableError(NasEdgeError):
    """A latency table that lacks blocks, or whose rows contradict each other."""


class BudgetError(NasEdgeError):
    """A budget that no architecture of the space can meet."""


class StrategyError(NasEdgeError):
    """A search strategy that proposes what it must not: its own defect, not the user's mistake."""

    exit_code = 1


class TrainingError(NasEdgeError):
    """A training run that cannot start or go on as asked (another recipe, weights of another space)."""


class WorkerError(NasEdgeError):
    """Workers, of a cluster say, that cannot be reached or cannot do what they are asked for."""

    exit_code = 1


class ExportError(NasEdgeError):
    """A network that cannot be exported as asked."""


class MissingExtraError(NasEdgeError):
    """An optional package that the asked work needs."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package!r}: pip install 'nas-edge[{extra}]'")


class DeviceError(NasEdgeError):
    """A device that cannot be reached, lacks what is needed, or vanished."""

    exit_code = 1


class DeviceLostError(DeviceError):
    """The connection to a device was cut while something was asked of it; the device may come back."""


class MeasurementError(NasEdgeError):
    """A measurement that could not be taken, or is too disturbed to be used."""

    exit_code = 1


class ParityError(NasEdgeError):
    """An exported file that does not compute what the network computes."""

    exit_code = 1


class StorageError(NasEdgeError):
    """A directory that cannot be written, or a disk that is full."""

    exit_code = 1
