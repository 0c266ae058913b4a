"""`trtexec`, as tests have it: see `tests/runtimes/trtexec.py`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

VERSIONS = {"8.2": "8201", "8.5": "8502", "10.3": "100300", "11.0": "110000"}


def install_trtexec(directory: Path, version: str = "10.3") -> str:
    """Path of a program `trtexec` of that version in a directory."""
    script = Path(__file__).with_name("trtexec.py")
    words = " ".join(shlex.quote(str(word)) for word in (sys.executable, script, VERSIONS[version]))
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "trtexec"
    program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    program.chmod(0o755)
    return str(program)
