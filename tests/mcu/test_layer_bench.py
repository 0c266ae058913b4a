"""Layers counted by themselves add up to the network that they are of."""

from __future__ import annotations

from nas_edge.mcu.boards import load_board
from nas_edge.mcu.counted import count_network
from nas_edge.mcu.emulator import best_method
from nas_edge.mcu.emulator.counting import Method
from nas_edge.mcu.emulator.counts import total
from nas_edge.mcu.emulator.layer_bench import count_layers, shape
from nas_edge.memory import layers_of
from nas_edge.pipeline.seeded import seeded_network
from nas_edge.spaces import Precision, SearchSpace
from tests.emulated import needs_emulator

pytestmark = needs_emulator


def test_the_layers_of_a_network_add_up_to_what_its_firmware_takes() -> None:
    space = SearchSpace.named("mcu").restrict(resolutions=[32])
    blocks = space.lower(space.smallest(), 4, Precision.INT8)
    layers = layers_of(blocks)
    counts = count_layers(layers, load_board("mps2-an386"))
    summed = total(counts[shape(layer)] for layer in layers)
    counted = count_network(seeded_network(blocks), load_board("stm32f405"))
    assert counted.equal
    assert abs(summed.instructions / counted.instructions - 1) < 0.005
    if best_method() is Method.PLUGIN:
        assert summed.cycles is not None
        assert counted.run.total.cycles is not None
        assert abs(summed.cycles / counted.run.total.cycles - 1) < 0.005
        assert sum(counted.run.total.classes.values()) == counted.instructions
