"""Search spaces: what can be built, as arrays and as blocks. Numpy only."""

from nas_edge.spaces.base import Space
from nas_edge.spaces.blocks import Activation, BlockSpec, Kind, Padding, Precision, make_divisible, same_padding
from nas_edge.spaces.presets import preset, preset_names
from nas_edge.spaces.space import Gene, SearchSpace
from nas_edge.spaces.tabular import TabularSpace
from nas_edge.spaces.template import Stage, Stem, Tail, Template
from nas_edge.spaces.terms import Population, Term, TermCosts, TermIndex

__all__ = [
    "Activation", "BlockSpec", "Gene", "Kind", "Padding", "Population", "Precision", "SearchSpace", "Space", "Stage",
    "Stem", "TabularSpace", "Tail", "Template", "Term", "TermCosts", "TermIndex", "make_divisible", "preset",
    "preset_names", "same_padding",
]  # fmt: skip
