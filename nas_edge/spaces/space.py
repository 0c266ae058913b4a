"""`SearchSpace`: a template as arrays. Genes, JSON, exact size, lowering to blocks, terms, MACs and parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import ArchitectureError, SpaceError
from nas_edge.spaces import variation
from nas_edge.spaces.blocks import BlockSpec, Kind, Precision, make_divisible
from nas_edge.spaces.presets import preset
from nas_edge.spaces.template import Stage, Template
from nas_edge.spaces.terms import Population, Term, TermCosts

IMAGE_CHANNELS = 3
BITS: Mapping[Precision, float] = MappingProxyType({Precision.FP32: 32.0, Precision.FP16: 16.0, Precision.INT8: 8.0})


@dataclass(frozen=True)
class Gene:
    """One column of a population.

    Attributes:
        name: "p", "w", "r", "s2.1.k", "s2.1.e" (stage 2, block 1, kernel or expand ratio).
        choices: what the values 1, 2, ... stand for; of "p" the bits of a number.
        stage: index of the stage, -1 for precision, width and resolution.
        slot: position within the stage, -1 for precision, width and resolution.

    """

    name: str
    choices: tuple[float, ...]
    stage: int = -1
    slot: int = -1


@dataclass(frozen=True)
class SearchSpace:
    """A space of architectures over a template.

    A population is an int8 array [n, genes]: the index of a gene's choice plus one, 0 where the block is beyond
    its stage's depth. Equal networks are equal rows.

    Attributes:
        template: what varies and what does not.
        allowed: for each restricted gene name the values (not indices) that sampling may use.
        precisions: number formats that a whole network may have, as its first gene "p"; () where that is no gene.

    """

    template: Template
    allowed: tuple[tuple[str, tuple[float, ...]], ...] = ()
    precisions: tuple[Precision, ...] = ()
    _terms: dict[Any, tuple[Term, ...]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def named(cls, name: str) -> SearchSpace:
        """A preset by name, or a space from a YAML file's path. Raises UnknownNameError, ConfigError, SpaceError."""
        if name.endswith((".yaml", ".yml")):
            from nas_edge.files import read_described

            return cls(read_described(Path(name), Template.from_dict))
        return cls(preset(name))

    @property
    def name(self) -> str:
        """Name of the template."""
        return self.template.name

    @cached_property
    def genes(self) -> tuple[Gene, ...]:
        """The columns of a population, in order."""
        t = self.template
        genes = [Gene("p", tuple(BITS[p] for p in self.precisions))] if self.precisions else []
        genes += [Gene("w", t.widths)] if len(t.widths) > 1 else []
        genes.append(Gene("r", tuple(float(r) for r in t.resolutions)))
        for s, stage in enumerate(t.stages):
            for b in range(stage.slots):
                genes.append(Gene(f"s{s + 1}.{b + 1}.k", tuple(map(float, stage.kernels)), s, b))
                genes.append(Gene(f"s{s + 1}.{b + 1}.e", tuple(map(float, stage.expands)), s, b))
        return tuple(genes)

    @cached_property
    def columns(self) -> dict[str, int]:
        """Column of each gene by name."""
        return {gene.name: i for i, gene in enumerate(self.genes)}

    @cached_property
    def layout(self) -> variation.Layout:
        """What the array operators need to know of the genes."""
        allowed = dict(self.allowed)
        values = tuple(
            np.array([i + 1 for i, c in enumerate(g.choices) if g.name not in allowed or c in allowed[g.name]], np.int8)
            for g in self.genes
        )
        depth_of = dict(self.allowed)
        stages = tuple(
            variation.StageColumns(
                kernels=np.array([i for i, g in enumerate(self.genes) if g.stage == s and g.name.endswith(".k")]),
                expands=np.array([i for i, g in enumerate(self.genes) if g.stage == s and g.name.endswith(".e")]),
                depths=np.array([d for d in stage.depths if d in depth_of.get(f"s{s + 1}.d", stage.depths)]),
            )
            for s, stage in enumerate(self.template.stages)
        )
        return variation.Layout(
            values, stages, len(self.genes) - sum(2 * stage.slots for stage in self.template.stages)
        )

    def restrict(self, resolutions: Iterable[int] | None = None, **fixed: Iterable[float]) -> SearchSpace:
        """The same genes with fewer values to choose from.

        Args:
            resolutions: input sides in pixels.
            fixed: values for other genes; `s1_1_k=(3,)` for gene "s1.1.k", `s1_d=(2,)` for a stage's depth.

        Raises:
            SpaceError: an unknown gene, or a value that the space does not have.

        """
        wanted: dict[str, tuple[float, ...]] = dict(self.allowed)
        known = {gene.name: gene.choices for gene in self.genes}
        known |= {f"s{s + 1}.d": tuple(map(float, stage.depths)) for s, stage in enumerate(self.template.stages)}
        changes = {name.replace("_", "."): tuple(map(float, values)) for name, values in fixed.items()}
        if resolutions is not None:
            changes["r"] = tuple(map(float, resolutions))
        for name, values in changes.items():
            if name not in known:
                raise SpaceError(f"space {self.name!r} has no gene {name!r}; it has {', '.join(known)}")
            wrong = [f"{v:g}" for v in values if v not in known[name]]
            if wrong or not values:
                have = ", ".join(f"{v:g}" for v in known[name])
                raise SpaceError(
                    f"space {self.name!r}: {name} cannot be {', '.join(wrong) or 'empty'}; it can be {have}"
                )
            wanted[name] = tuple(sorted(set(values)))
        return replace(self, allowed=tuple(sorted(wanted.items())), _terms={})

    def with_precisions(self, precisions: Iterable[Precision]) -> SearchSpace:
        """The same space with the precision of the whole network as its first gene."""
        return replace(self, precisions=tuple(dict.fromkeys(precisions)), _terms={})

    @property
    def base(self) -> SearchSpace:
        """The space without the precision gene."""
        if not self.precisions:
            return self
        kept = tuple((name, values) for name, values in self.allowed if name != "p")
        return replace(self, allowed=kept, precisions=(), _terms={})

    def of_base(self, population: Population) -> Population:
        """Rows of `base`: the precision gene cut off."""
        return population[:, 1:] if self.precisions else population

    def precision_of(self, arch: Population) -> Precision | None:
        """A row's precision (int8 [genes]), None where that is no gene."""
        return self.precisions[int(arch[0]) - 1] if self.precisions else None

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Input sides that may be chosen, in pixels."""
        return tuple(int(r) for r in dict(self.allowed).get("r", self.template.resolutions))

    def size(self) -> int:
        """Exact number of distinct architectures."""
        layout = self.layout
        total = 1
        for column in range(layout.globals):
            total *= len(layout.values[column])
        for stage in layout.stages:
            ways, prefix = 0, 1
            for d in range(1, len(stage.kernels) + 1):
                prefix *= len(layout.values[stage.kernels[d - 1]]) * len(layout.values[stage.expands[d - 1]])
                ways += prefix if d in stage.depths else 0
            total *= ways
        return total

    # Populations -----------------------------------------------------------------------------------------------

    def sample(self, n: int, rng: np.random.Generator) -> Population:
        """int8 [n, genes]: every depth, kernel, ratio, width and resolution equally likely."""
        return variation.sample(self.layout, n, rng)

    def mutate(self, population: Population, rng: np.random.Generator, rate: float = 0.1) -> Population:
        """A changed copy: each gene and each stage's depth is drawn anew with probability `rate`."""
        return variation.mutate(self.layout, population, rng, rate)

    def crossover(self, a: Population, b: Population, rng: np.random.Generator) -> Population:
        """Children int8 [n, genes] of parents `a` and `b`: each gene and each stage's depth from either."""
        return variation.crossover(self.layout, a, b, rng)

    def repair(self, population: NDArray[np.integer[Any]]) -> Population:
        """The nearest canonical, allowed rows."""
        return variation.repair(self.layout, population)

    def is_valid(self, population: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """Bool [n]: rows that are canonical and use allowed values only."""
        return variation.valid(self.layout, population)

    def smallest(self) -> Population:
        """int8 [genes]: least depth, kernels, ratios, width, resolution."""
        return variation.extreme(self.layout, largest=False)

    def largest(self) -> Population:
        """int8 [genes]: all at their greatest."""
        return variation.extreme(self.layout, largest=True)

    def enumerate(self, limit: int = 1_000_000) -> Population:
        """Every architecture, int8 [size, genes]. Raises SpaceError above `limit`."""
        if self.size() > limit:
            raise SpaceError(
                f"space {self.name!r} has {self.size():.3g} architectures, too many to list (limit {limit})"
            )
        return variation.enumerate_all(self.layout)

    def depths(self, population: Population) -> NDArray[np.int64]:
        """Blocks of each stage, int64 [n, stages]."""
        return variation.depths(self.layout, population)

    # JSON ------------------------------------------------------------------------------------------------------

    def to_json(self, arch: Population) -> dict[str, Any]:
        """One row as the community writes it: {"r": 224, "d": [...], "ks": [...], "e": [...]}, 0 where absent.

        `d` lists the stages with more than one depth, as Once-for-All does; "w" is there where widths vary, "p"
        ("int8") where precisions do.
        """
        row = [int(v) for v in arch]
        value = {g.name: (g.choices[v - 1] if v else 0) for g, v in zip(self.genes, row, strict=True)}
        counts = self.depths(np.asarray(arch)[None])[0]
        result: dict[str, Any] = {"r": int(value["r"])}
        if "w" in value:
            result["w"] = value["w"]
        if self.precisions:
            result["p"] = self.precisions[row[0] - 1].value
        result["d"] = [int(d) for d, s in zip(counts, self.template.stages, strict=True) if len(s.depths) > 1]
        result["ks"] = [int(value[g.name]) for g in self.genes if g.name.endswith(".k")]
        result["e"] = [int(value[g.name]) for g in self.genes if g.name.endswith(".e")]
        return result

    def from_json(self, data: Any, where: str = "architecture") -> Population:
        """The inverse, int8 [genes]. Values beyond a depth are ignored; `r` may be a list of one, or `image_size`.

        Raises:
            ArchitectureError: a key is missing, a list has another length, or a value is not in the space.

        """
        if not isinstance(data, Mapping):
            raise ArchitectureError(f"{where}: is not a mapping with r, d, ks, e")
        resolution = data.get("r", data.get("image_size"))
        resolution = resolution[0] if isinstance(resolution, list) and len(resolution) == 1 else resolution
        stages = self.template.stages
        slots = sum(stage.slots for stage in stages)
        lists = {}
        for key, length in [("d", sum(len(s.depths) > 1 for s in stages)), ("ks", slots), ("e", slots)]:
            value = data.get(key)
            if key == "d" and isinstance(value, list) and len(value) == len(stages):
                # Once-for-All's own files give stages of one depth a value as well, which means nothing.
                value = [depth for depth, stage in zip(value, stages, strict=True) if len(stage.depths) > 1]
            if not isinstance(value, list) or len(value) != length:
                found = f"{len(value)}" if isinstance(value, list) else repr(value)
                raise ArchitectureError(
                    f"{where}: {key!r} must be a list of {length} for space {self.name!r}, not {found}"
                )
            lists[key] = value
        depths = iter(lists["d"])
        per_stage = [next(depths) if len(s.depths) > 1 else s.depths[0] for s in stages]
        for number, (depth, stage) in enumerate(zip(per_stage, stages, strict=True), 1):
            if depth not in stage.depths:
                raise ArchitectureError(f"{where}: stage {number} cannot have {depth!r} blocks, only {stage.depths}")
        row = np.zeros(len(self.genes), np.int8)
        kernels, expands = iter(lists["ks"]), iter(lists["e"])
        for i, gene in enumerate(self.genes):
            if gene.name == "p":
                value = {p.value: BITS[p] for p in self.precisions}.get(str(data.get("p")), data.get("p"))
            elif gene.stage < 0:
                value = resolution if gene.name == "r" else data.get("w")
            else:
                value = next(kernels if gene.name.endswith(".k") else expands)
                if gene.slot >= per_stage[gene.stage]:
                    continue
            if isinstance(value, bool) or value not in gene.choices:
                have = ", ".join(f"{c:g}" for c in gene.choices)
                raise ArchitectureError(f"{where}: {gene.name} = {value!r} is not in space {self.name!r} ({have})")
            row[i] = gene.choices.index(value) + 1
        return row

    # Lowering --------------------------------------------------------------------------------------------------

    def terms(self, num_classes: int, precision: Precision = Precision.FP32) -> tuple[Term, ...]:
        """The space as terms: stem with first block, one a slot, tail. Disallowed resolutions and widths are empty."""
        key = (num_classes, precision)
        if key not in self._terms:
            self._terms[key] = tuple(_build_terms(self, num_classes, precision))
        return self._terms[key]

    def lower(self, arch: Population, num_classes: int, precision: Precision = Precision.FP32) -> tuple[BlockSpec, ...]:
        """The blocks of one architecture (int8 [genes]), input to output; of its own precision if that is a gene."""
        blocks: list[BlockSpec] = []
        for term in self.terms(num_classes, self.precision_of(arch) or precision):
            entry = int(np.ravel_multi_index([int(arch[c]) for c in term.columns], term.shape)) if term.columns else 0
            blocks.extend(term.blocks[entry])
        return tuple(blocks)

    def costs(self, cost: Any, num_classes: int, precision: Precision = Precision.FP32) -> TermCosts:
        """`TermCosts` of a cost function over `BlockSpec`."""
        return TermCosts.of(self.terms(num_classes, precision), len(self.genes), cost)

    def macs(self, population: Population, num_classes: int) -> NDArray[np.float64]:
        """Multiply-adds for one image, float64 [n]."""
        return self.costs(lambda block: block.macs, num_classes).sum(population)

    def params(self, population: Population, num_classes: int) -> NDArray[np.float64]:
        """Trainable parameters of the extracted network, float64 [n]."""
        return self.costs(lambda block: block.params, num_classes).sum(population)


def _halve(side: int, stride: int) -> int:
    """Side after a strided convolution, whichever the padding."""
    return -(-side // stride)


def _build_terms(space: SearchSpace, num_classes: int, precision: Precision) -> Iterable[Term]:
    t = space.template
    columns = space.columns
    allowed = dict(space.allowed)
    widths = [w if w in allowed.get("w", t.widths) else None for w in t.widths]
    sides = [r if r in allowed.get("r", t.resolutions) else None for r in t.resolutions]
    has_width = "w" in columns
    outer = [
        (w, r) for w in ([None, *widths] if has_width else widths) for r in [None, *sides]
    ]  # C order over the (width,) resolution genes; None: absent or disallowed
    outer_columns = (columns["w"], columns["r"]) if has_width else (columns["r"],)
    outer_shape = (len(t.widths) + 1, len(t.resolutions) + 1) if has_width else (len(t.resolutions) + 1,)

    def block(stage: Stage, w: float, side: int, inputs: int, k: int, e: int, first: bool) -> BlockSpec:
        channels, stride = t.scaled(stage.channels, w), stage.stride if first else 1
        mid = inputs if e == 1 else make_divisible(round(inputs * e))
        return BlockSpec(
            Kind.INVERTED_RESIDUAL, side, side, inputs, mid, channels, k, stride, mid, t.padding, stage.activation,
            stage.se, stage.residual and stride == 1 and inputs == channels, True, precision,
        )  # fmt: skip

    def begin(w: float, r: int) -> tuple[BlockSpec, ...]:
        stem = BlockSpec(
            Kind.STEM, r, r, IMAGE_CHANNELS, IMAGE_CHANNELS, t.scaled(t.stem.channels, w), t.stem.kernel, t.stem.stride,
            1, t.padding, t.stem.activation, False, False, True, precision,
        )  # fmt: skip
        first = block(t.first, w, stem.out_height, stem.out_channels, t.first.kernels[0], t.first.expands[0], True)
        return stem, first

    def end(w: float, side: int, inputs: int) -> tuple[BlockSpec, ...]:
        def conv(size: int, inp: int, out: int, norm: bool) -> BlockSpec:
            act = t.tail.activation
            return BlockSpec(
                Kind.HEAD, size, size, inp, inp, out, padding=t.padding, activation=act, norm=norm, precision=precision
            )

        out = t.tail.expand_channels
        blocks = [conv(side, inputs, out, True)]
        blocks.append(BlockSpec(Kind.POOLING, side, side, out, out, out, groups=out, precision=precision))
        if t.tail.mix_channels:
            blocks.append(conv(1, out, t.tail.mix_channels, False))
            out = t.tail.mix_channels
        blocks.append(BlockSpec(Kind.LINEAR, 1, 1, out, out, num_classes, precision=precision))
        return tuple(blocks)

    def outer_entry(make: Any, w: float | None, r: int | None) -> tuple[BlockSpec, ...]:
        return make(w, r) if w is not None and r is not None else ()

    yield Term("stem", outer_columns, outer_shape, tuple(outer_entry(begin, w, r) for w, r in outer))
    side_after = {r: _halve(_halve(r, t.stem.stride), t.first.stride) for r in t.resolutions}
    previous = t.first.channels
    for s, stage in enumerate(t.stages):
        for b in range(stage.slots):
            inner = [(k, e) for k in (0, *stage.kernels) for e in (0, *stage.expands)]
            entries: list[tuple[BlockSpec, ...]] = []
            for w, r in outer:
                for k, e in inner:
                    if w is None or r is None or not k or not e:
                        entries.append(())
                        continue
                    inputs = t.scaled(stage.channels if b else previous, w)
                    side = _halve(side_after[r], stage.stride) if b else side_after[r]
                    entries.append((block(stage, w, side, inputs, k, e, b == 0),))
            names = (columns[f"s{s + 1}.{b + 1}.k"], columns[f"s{s + 1}.{b + 1}.e"])
            shape = (*outer_shape, len(stage.kernels) + 1, len(stage.expands) + 1)
            yield Term(f"stage {s + 1} block {b + 1}", (*outer_columns, *names), shape, tuple(entries))
        side_after = {r: _halve(side, stage.stride) for r, side in side_after.items()}
        previous = stage.channels
    tails = tuple(
        end(w, side_after[r], t.scaled(previous, w)) if w is not None and r is not None else () for w, r in outer
    )
    yield Term("tail", outer_columns, outer_shape, tails)
