"""Memory of whole populations: what planning each network by itself finds, to the byte, and quickly."""

from __future__ import annotations

import time

import numpy as np
import pytest

from nas_edge.errors import ExportError, UnknownNameError
from nas_edge.memory import READAHEAD_BYTES, layers_of, parameter_bytes, plan_memory
from nas_edge.memory.firmware import core_names, firmware_size
from nas_edge.memory.population import PopulationMemory
from nas_edge.spaces import SearchSpace

CLASSES = 6
M4 = firmware_size("cortex-m4")


@pytest.mark.parametrize(("name", "n"), [("mcu", 150), ("mcu-tiny", 100), ("lite0", 30)])
def test_arenas_and_parameters_of_a_population_are_those_of_its_networks_to_the_byte(name: str, n: int) -> None:
    space = SearchSpace.named(name)
    rows = space.sample(n, np.random.default_rng(5))
    memory = PopulationMemory.of(space, CLASSES, M4)
    networks = [layers_of(space.lower(row, CLASSES)) for row in rows]
    np.testing.assert_array_equal(memory.arena_bytes(rows), [plan_memory(layers).arena_bytes for layers in networks])
    np.testing.assert_array_equal(
        memory.parameter_bytes(rows),
        [sum(parameter_bytes(layer) for layer in layers) + READAHEAD_BYTES for layers in networks],
    )


def test_sram_and_flash_are_never_less_than_arena_and_parameters() -> None:
    space = SearchSpace.named("mcu")
    rows = space.sample(500, np.random.default_rng(6))
    memory = PopulationMemory.of(space, CLASSES, M4)
    extra = memory.sram_bytes(rows) - memory.arena_bytes(rows)
    assert set(extra) == {M4.stack_bytes + M4.static_bytes + 4 * CLASSES}
    assert (memory.flash_bytes(rows) - memory.parameter_bytes(rows) > M4.code_bytes).all()


@pytest.mark.parametrize("name", ["mcu", "mcu-tiny", "lite0"])
def test_flash_of_a_population_is_that_of_its_networks_each_with_the_kernels_that_it_calls(name: str) -> None:
    space = SearchSpace.named(name)
    rows = space.sample(100, np.random.default_rng(8))
    networks = [layers_of(space.lower(row, CLASSES)) for row in rows]
    memory = PopulationMemory.of(space, CLASSES, M4)
    np.testing.assert_array_equal(memory.flash_bytes(rows), [M4.flash_bytes(layers) for layers in networks])


def test_a_hundred_thousand_architectures_are_priced_in_a_second() -> None:
    space = SearchSpace.named("mcu")
    memory = PopulationMemory.of(space, CLASSES, M4)
    rows = space.sample(20_000, np.random.default_rng(7))
    memory.sram_bytes(rows[:10])
    begun = time.process_time()
    memory.sram_bytes(rows)
    memory.flash_bytes(rows)
    assert time.process_time() - begun < 0.2


def test_a_space_that_no_int8_kernel_computes_is_refused() -> None:
    with pytest.raises(ExportError, match="h_swish"):
        PopulationMemory.of(SearchSpace.named("mbv3-32"), CLASSES, M4)


def test_a_core_that_nobody_measured_is_refused_with_near_names() -> None:
    assert "cortex-m4" in core_names()
    with pytest.raises(UnknownNameError, match="did you mean"):
        firmware_size("cortex-m44")
