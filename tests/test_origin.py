"""Origins survive the way to the last report."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_edge.origin import Origin, OriginKind

_TEXTS = st.text(max_size=20)


@given(st.builds(Origin, st.sampled_from(OriginKind), _TEXTS, _TEXTS, _TEXTS))
def test_an_origin_survives_json(origin: Origin) -> None:
    assert Origin.from_json(origin.to_json()) == origin


def test_only_this_machines_figures_are_called_measured_on_this_machine() -> None:
    origin = Origin(OriginKind.MEASURED, machine="cpu-a", date="2026-01-01")
    assert origin.describe("cpu-a") == "measured on this machine 2026-01-01"
    assert origin.describe("cpu-b") == "measured cpu-a 2026-01-01"
    assert "this machine" not in Origin(OriginKind.MEASURED).describe("")


@pytest.mark.parametrize("kind", [OriginKind.MODELLED, OriginKind.PUBLISHED])
def test_what_was_not_measured_is_never_called_so(kind: OriginKind) -> None:
    text = Origin(kind, machine="cpu-a", source="a paper").describe("cpu-a")
    assert text == f"{kind.value}: a paper"


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="guessed"):
        Origin.from_json({"kind": "guessed"})
