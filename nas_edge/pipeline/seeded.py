"""The graph of an architecture with seeded weights: what is timed before a network has weights of its own."""

from __future__ import annotations

from nas_edge.spaces import Population, SearchSpace


def seeded_model(space: SearchSpace, arch: Population, num_classes: int, seed: int = 0) -> bytes:
    """One architecture (int8 [genes]) as serialised ONNX: the exporter's graph, random weights, no torch."""
    from nas_edge.spaces.onnx_blocks import build_onnx

    data: bytes = build_onnx(space.lower(arch, num_classes), seed=seed).SerializeToString()
    return data
