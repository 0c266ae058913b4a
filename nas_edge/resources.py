"""Where tables, targets and pipelines are found: where the user stands first, then their own, then the defaults."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

HOME_VARIABLE = "NAS_EDGE_HOME"
_PACKAGE = Path(__file__).resolve().parent


def roots() -> tuple[Path, ...]:
    """Directories that may hold `latency_tables/`, `targets/`, `pipelines/`: first come, first served.

    The current directory; `$NAS_EDGE_HOME`; the defaults of the installed package; for an editable
    install the checkout that the package lies in.
    """
    home = os.environ.get(HOME_VARIABLE)
    candidates = [Path.cwd(), *([Path(home).expanduser()] if home else []), _PACKAGE / "_defaults"]
    # In site-packages the parent directory is everybody's: only a checkout has the project file beside the package.
    if (_PACKAGE.parent / "pyproject.toml").is_file():
        candidates.append(_PACKAGE.parent)
    return tuple(dict.fromkeys(path.resolve() for path in candidates if path.is_dir()))


def candidates(relative: str) -> Iterator[Path]:
    """Existing files or directories of a relative name ("targets/local.yaml"), in order of precedence."""
    for root in roots():
        path = root / relative
        if path.exists():
            yield path


def find(relative: str) -> Path | None:
    """The first of `candidates`, or None."""
    return next(candidates(relative), None)


def names(directory: str, suffix: str) -> dict[str, Path]:
    """Files `directory/<name><suffix>` by name; where a name is there twice, the one of higher precedence."""
    found: dict[str, Path] = {}
    for folder in candidates(directory):
        for path in sorted(folder.glob(f"*{suffix}")):
            found.setdefault(path.name.removesuffix(suffix), path)
    return found


def cache_directory() -> Path:
    """`$XDG_CACHE_HOME/nas-edge`, by default `~/.cache/nas-edge`; not created here."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "nas-edge"
