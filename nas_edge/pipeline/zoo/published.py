"""Weights that others have published and that nas-edge can use."""

from __future__ import annotations

import os
from dataclasses import dataclass

from nas_edge.errors import UnknownNameError

BASE = "https://raw.githubusercontent.com/han-cai/files/master/"
BASE_VARIABLE = "NAS_EDGE_ZOO"  # another server that has the same files


@dataclass(frozen=True)
class Published:
    """Weights of a whole supernet.

    Attributes:
        name: what `zoo pull` calls it.
        path: of the file, below the server's address.
        space: that it is of.
        source, licence: for the bundle.
        sha256: of the file; None where the publisher names none (it is then noted in the bundle).
    """

    name: str
    path: str
    space: str
    source: str
    licence: str
    sha256: str | None = None

    @property
    def url(self) -> str:
        """Where it is fetched."""
        return os.environ.get(BASE_VARIABLE, BASE).rstrip("/") + "/" + self.path


_ONCE_FOR_ALL = "Once-for-All (Cai et al., ICLR 2020), ImageNet, github.com/han-cai/files"
_FILES = {
    "ofa-mbv3-w1.0": "ofa_mbv3_d234_e346_k357_w1.0",
    "ofa-mbv3-w1.2": "ofa_mbv3_d234_e346_k357_w1.2",
    "ofa-proxyless-w1.3": "ofa_proxyless_d234_e346_k357_w1.3",
}
_PUBLISHED = {
    name: Published(name, f"ofa/ofa_nets/{file}", name, _ONCE_FOR_ALL, "MIT (github.com/mit-han-lab/once-for-all)")
    for name, file in _FILES.items()
}


def published_names() -> tuple[str, ...]:
    """Names of all published weights."""
    return tuple(_PUBLISHED)


def published(name: str) -> Published:
    """Published weights by name. Raises UnknownNameError."""
    if name not in _PUBLISHED:
        raise UnknownNameError("published supernet", name, _PUBLISHED)
    return _PUBLISHED[name]
