"""What an unfinished search leaves beside its run, so that it goes on: the request, evaluations, measurements.

A search is deterministic but for what devices measure. So it is run again from its start, and what took long is taken
from here: architectures that were evaluated, sittings that were finished, subnets whose accuracy was measured.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge.errors import ConfigError, FormatError
from nas_edge.files import make_directory, read_json, write_json
from nas_edge.pipeline.searching.request import SearchRequest

if TYPE_CHECKING:
    from nas_edge.profiling import Measurement

FORMAT = 1
REQUEST = "request.json"
SUFFIX = ".unfinished"


class SearchState:
    """The directory `<run>.unfinished`.

    Args:
        run: the run's directory, which need not exist.

    Attributes:
        found: whether there was something to go on from to begin with.

    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.directory = run.with_name(run.name + SUFFIX)
        self.found = self.worthwhile
        self._sittings = 0

    def begin(self, request: SearchRequest) -> None:
        """Note down what is searched, before anything takes long. Raises ConfigError, StorageError."""
        make_directory(self.directory)
        write_json(self.directory / REQUEST, {"format": FORMAT, "request": request.to_json()})

    def finish(self) -> None:
        """The run is there: nothing of this is needed any more."""
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def worthwhile(self) -> bool:
        """Whether there is anything to go on from."""
        return any(file.name != REQUEST for file in self.directory.glob("*"))

    def path(self, name: str) -> Path:
        """A file or directory of the state."""
        return self.directory / name

    def sitting(self, subject: Sequence[bytes], measure: Callable[[Path], Sequence[Measurement]]) -> list[Measurement]:
        """Measurements of a sitting: from here if it was finished before, else made and kept.

        Args:
            subject: what is measured, in order: the state of another subject is refused.
            measure: makes them; given a file for its own journal.

        Raises:
            FormatError: damaged, or of other networks.

        """
        from nas_edge.profiling import Measurement

        number, self._sittings = self._sittings, self._sittings + 1
        path = self.directory / f"sitting-{number:03d}.json"
        digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in subject)).hexdigest()
        if path.is_file():
            stored = _read(path)
            if stored.get("subject") != digest:
                raise FormatError(f"{path}: is of other networks; remove {self.directory} and search from the start")
            return [Measurement.from_json(one) for one in stored["measurements"]]
        journal = self.directory / f"sitting-{number:03d}.jsonl"
        found = list(measure(journal))
        write_json(path, {"format": FORMAT, "subject": digest, "measurements": [one.to_json() for one in found]})
        journal.unlink(missing_ok=True)
        return found


def unfinished_request(run: Path) -> SearchRequest:
    """The request of a run that was cut, its directory as `out`.

    Args:
        run: the run's directory, or the `.unfinished` one beside it.

    Raises:
        ConfigError: nothing unfinished is there. FormatError: damaged.

    """
    directory = run if run.name.endswith(SUFFIX) else run.with_name(run.name + SUFFIX)
    if not (directory / REQUEST).is_file():
        raise ConfigError(f"{run}: there is no unfinished search ({directory.name}/{REQUEST} is missing)")
    request = SearchRequest.from_json(_read(directory / REQUEST)["request"], str(directory / REQUEST))
    from dataclasses import replace

    return replace(request, out=directory.with_name(directory.name.removesuffix(SUFFIX)))


def _read(path: Path) -> dict[str, Any]:
    data = read_json(path)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise FormatError(f"{path}: 'format: {FORMAT}' is expected; a newer file needs a newer nas-edge")
    return data
