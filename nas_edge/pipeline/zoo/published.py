"""Weights that others have published and that nas-edge can use."""

from __future__ import annotations

import os
from dataclasses import dataclass

from nas_edge.errors import UnknownNameError

BASE = "https://raw.githubusercontent.com/han-cai/files/master/"
BASE_VARIABLE = "NAS_EDGE_ZOO"  # another server that has the same files


@dataclass(frozen=True)
class Published:
    """Weights of a supernet, or of an accuracy predictor.

    Attributes:
        name: what `zoo pull` calls it.
        path: of the file, below the server's address.
        space: that it is of.
        source, licence: for the bundle.
        what: for a person.
        sha256: of the file; None where the publisher names none (it is then noted where it is first seen).
        trained: genes of the networks that it was trained for, as `--fix` takes them; () for all.
        predictor: whether it is an accuracy predictor.
    """

    name: str
    path: str
    space: str
    source: str
    licence: str
    what: str = "supernet"
    sha256: str | None = None
    trained: tuple[str, ...] = ()
    predictor: bool = False

    @property
    def url(self) -> str:
        """Where it is fetched."""
        return os.environ.get(BASE_VARIABLE, BASE).rstrip("/") + "/" + self.path


_SOURCE = "Once-for-All (Cai et al., ICLR 2020), ImageNet, github.com/han-cai/files"
_LICENCE = "MIT (github.com/mit-han-lab/once-for-all)"
_NETS = {
    "ofa-mbv3-w1.0": "ofa_mbv3_d234_e346_k357_w1.0",
    "ofa-mbv3-w1.2": "ofa_mbv3_d234_e346_k357_w1.2",
    "ofa-proxyless-w1.3": "ofa_proxyless_d234_e346_k357_w1.3",
}
# What progressive shrinking had reached after each of its phases: depths, expand ratios, kernels.
_PHASES = (("4", "6", "7"), ("4", "6", "357"), ("34", "6", "357"), ("234", "6", "357"), ("234", "46", "357"))


def _phase(depths: str, expands: str, kernels: str) -> Published:
    choices = {"d": depths, "e": expands, "k": kernels}
    return Published(
        f"ofa-mbv3-w1.0-d{depths}-e{expands}-k{kernels}",
        f"ofa/ofa_checkpoints/ofa_D{depths}_E{expands}_K{kernels}",
        "ofa-mbv3-w1.0",
        _SOURCE,
        _LICENCE,
        "supernet, midway through progressive shrinking",
        trained=tuple(f"{gene}={','.join(values)}" for gene, values in choices.items()),
    )


_ALL = (
    *(Published(name, f"ofa/ofa_nets/{file}", name, _SOURCE, _LICENCE) for name, file in _NETS.items()),
    *(_phase(*choices) for choices in _PHASES),
    Published(
        "ofa-accuracy-predictor",
        "ofa/acc_predictor.pth",
        "ofa-mbv3-w1.2",
        _SOURCE,
        _LICENCE,
        "accuracy predictor",
        # Of the same blob in mit-han-lab/once-for-all, tutorial/checkpoints.
        sha256="48685122a3540636b06699af66cd816456b25f29b69563e2fda9bed4018eeba0",
        predictor=True,
    ),
)
_PUBLISHED = {one.name: one for one in _ALL}


def published_names() -> tuple[str, ...]:
    """Names of all published weights."""
    return tuple(_PUBLISHED)


def published(name: str) -> Published:
    """Published weights by name. Raises UnknownNameError."""
    if name not in _PUBLISHED:
        raise UnknownNameError("published weights", name, _PUBLISHED)
    return _PUBLISHED[name]
