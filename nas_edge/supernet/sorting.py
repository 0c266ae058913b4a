"""Channels in order of importance, so that smaller expand ratios keep the best ones (Once-for-All, Cai et al. 2020)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from nas_edge.spaces import Kind, SearchSpace
from nas_edge.supernet.elastic import ElasticInverted, ElasticSqueeze, Residual
from nas_edge.supernet.supernet import Supernet


@torch.no_grad()
def sort_channels(net: Supernet, trained: SearchSpace | None = None) -> None:
    """Order the middle channels of every elastic block by importance; those within squeeze-and-excitation as well.

    Importance is the L1 norm of the weights that read a channel: the projection's, or the gate's own second layer. The
    function of the widest network does not change, nor that of any network of `trained`: what its smaller ratios have
    learnt stays where they look for it, and only channels that all of them use, or none, trade places.

    Args:
        net: changed in place.
        trained: the space over the same template whose networks are trained already; None: the widest ones alone.
    """
    kept = _widths(net, trained if trained is not None else _widest(net.space))
    for block, (middle, squeezed) in zip(net.blocks[1:], kept, strict=True):
        assert isinstance(block, Residual)
        if isinstance(block.conv, ElasticInverted) and block.conv.inverted_bottleneck is not None:
            _sort_middle(block.conv, middle)
            if block.conv.depth_conv.se is not None:
                _sort_squeezed(block.conv.depth_conv.se, squeezed)


def _widest(space: SearchSpace) -> SearchSpace:
    """The networks of the largest width and ratios."""
    largest = {g.name.replace(".", "_"): g.choices[-1:] for g in space.genes if g.name == "w" or g.name.endswith(".e")}
    return space.restrict(None, **largest)


def _widths(net: Supernet, space: SearchSpace) -> list[tuple[list[int], list[int]]]:
    """Of each elastic slot, how many middle and squeezed channels networks of a space use, ascending."""
    options = {
        gene.name: values.tolist()
        for gene, values in zip(space.genes, space.layout.values, strict=True)
        if gene.name == "w" or gene.name.endswith(".e")
    }
    ratios = [name for name in options if name != "w"]
    found: list[tuple[set[int], set[int]]] = [(set(), set()) for _ in net.blocks[1:]]
    for width in options.get("w", [0]):
        for rank in range(max((len(options[name]) for name in ratios), default=1)):
            row = net.space.largest()
            if width:
                row[space.columns["w"]] = width
            for name in ratios:
                row[space.columns[name]] = options[name][min(rank, len(options[name]) - 1)]
            specs = [b for b in net.space.lower(row, net.num_classes) if b.kind is Kind.INVERTED_RESIDUAL]
            for (middle, squeezed), spec in zip(found, specs[1:], strict=True):
                middle.add(spec.mid_channels)
                squeezed.add(spec.se_channels)
    return [(sorted(middle), sorted(squeezed)) for middle, squeezed in found]


def _order(importance: Tensor, edges: list[int]) -> Tensor:
    """Indices by descending importance within each stretch between edges."""
    stretches = pairwise([0, *(edge for edge in edges if edge < len(importance)), len(importance)])
    return torch.cat([a + importance[a:b].argsort(descending=True, stable=True) for a, b in stretches])


def _sort_middle(branch: ElasticInverted, edges: list[int]) -> None:
    project, expand = branch.point_linear.conv.conv.weight, branch.inverted_bottleneck
    assert expand is not None
    order = _order(project.abs().sum(dim=(0, 2, 3)), edges)
    rows: list[Tensor] = [expand.conv.conv.weight, branch.depth_conv.conv.conv.weight]
    for bn in (expand.bn.bn, branch.depth_conv.bn.bn):
        rows += [bn.weight, bn.bias, bn.get_buffer("running_mean"), bn.get_buffer("running_var")]
    columns: list[Tensor] = [project]
    if branch.depth_conv.se is not None:
        gate = dict(branch.depth_conv.se.fc.named_parameters())
        rows += [gate["expand.weight"], gate["expand.bias"]]
        columns.append(gate["reduce.weight"])
    _permute(rows, columns, order)


def _sort_squeezed(gate: ElasticSqueeze, edges: list[int]) -> None:
    weights = dict(gate.fc.named_parameters())
    order = _order(weights["expand.weight"].abs().sum(dim=(0, 2, 3)), edges)
    _permute([weights["reduce.weight"], weights["reduce.bias"]], [weights["expand.weight"]], order)


def _permute(rows: list[Tensor], columns: list[Tensor], order: Tensor) -> None:
    """Put the first dimension of `rows`, and the second of `columns`, in order."""
    for tensor in rows:
        tensor.copy_(tensor[order])
    for tensor in columns:
        tensor.copy_(tensor[:, order])
