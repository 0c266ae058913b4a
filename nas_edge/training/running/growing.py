"""Progressive learning: batches begin small and grow (Tan and Le, EfficientNetV2, ICML 2021).

A step's time falls with the square of the picture's side, and what early steps teach can be seen in small pictures.
"""

from __future__ import annotations

_SAMPLES = 32  # of the rest of a run, for its mean work
_STEP = 4  # pixels: sides change a few times in a run, not at every epoch


def growing_side(first: int, last: int, share: float, progress: float) -> int:
    """Side of a batch in pixels.

    Args:
        first: side that a run begins with, 0 for `last`.
        last: side from `share` of the run on.
        share: of the run in which batches grow, 0..1.
        progress: of the run, 0..1.
    """
    if not 0 < first < last or progress >= share:
        return last
    return first + int((last - first) * progress / share) // _STEP * _STEP


def mean_work(first: int, last: int, share: float, progress: float) -> float:
    """Mean time of the steps from `progress` to the end, as a share of a step's on images of the last side, 0..1."""
    at = [progress + (1 - progress) * (i + 0.5) / _SAMPLES for i in range(_SAMPLES)]
    return sum((growing_side(first, last, share, p) / last) ** 2 for p in at) / _SAMPLES
