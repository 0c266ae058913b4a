"""Data that come with nas-edge: TrashNet (MIT), photographs of waste in six classes, with the authors' split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nas_edge.data.folder import read_folder
from nas_edge.data.listing import Listing

TRASHNET = Path(__file__).parent / "trashnet"
ORIGIN = "TrashNet at 128 px, github.com/garythung/trashnet, MIT, (c) 2017 Gary Thung"


def read_trashnet() -> Listing:
    """2,524 photographs of waste: 1,765 train, 328 search (the authors' val), 431 test."""
    return replace(read_folder(TRASHNET), trusted=True, origin=ORIGIN)
