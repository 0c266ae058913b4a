"""The runtime "mcu": it runs models as firmware, counts, and has no times to give."""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.errors import ExportError, MeasurementError, SpaceError
from nas_edge.mcu import reference
from nas_edge.mcu.counted import read_onnx
from nas_edge.pipeline.seeded import seeded_model
from nas_edge.runtimes import get_runtime, runtime_names
from nas_edge.spaces import SearchSpace
from tests.emulated import needs_emulator

SPACE = SearchSpace.named("mcu")


@pytest.fixture(scope="module")
def model() -> bytes:
    return seeded_model(SPACE, SPACE.smallest(), 4, precision="int8")


def test_it_is_found_by_its_name_and_runs_int8_alone(model: bytes) -> None:
    runtime = get_runtime("mcu")
    assert runtime.name == "mcu"
    assert "mcu" in runtime_names()
    assert runtime.precisions == ("int8",)
    with pytest.raises(SpaceError, match="int8 on one thread, not fp32 on 1"):
        runtime.prepare(model, "fp32", 1)
    with pytest.raises(SpaceError, match="not int8 on 2"):
        runtime.prepare(model, "int8", 2)


def test_what_is_not_a_model_is_refused_in_one_line() -> None:
    with pytest.raises(ExportError, match="no ONNX model") as caught:
        get_runtime("mcu").prepare(b"not a model", "int8", 1)
    assert "\n" not in str(caught.value)


def test_it_has_no_times_to_give(model: bytes) -> None:
    session = get_runtime("mcu").prepare(model, "int8", 1)
    with pytest.raises(MeasurementError, match="counts its instructions instead"):
        session.time(1)


def test_inputs_that_do_not_fit_are_named(model: bytes) -> None:
    session = get_runtime("mcu").prepare(model, "int8", 1)
    side = session.inputs["image"][2]
    with pytest.raises(MeasurementError, match=r"input 'image' .* is missing; given: other"):
        session.run({"other": np.zeros((1, 3, side, side))})
    with pytest.raises(MeasurementError, match="has shape"):
        session.run({"image": np.zeros((1, 3, side, side + 1))})
    session.close()
    with pytest.raises(MeasurementError, match="closed"):
        session.run({"image": np.zeros((1, 3, side, side))})


class TestInTheEmulator:
    pytestmark = needs_emulator

    def test_it_gives_the_logits_of_the_reference(self, model: bytes) -> None:
        runtime = get_runtime("mcu")
        assert runtime.version()[0].isdigit()
        session, graph = runtime.prepare(model, "int8", 1), read_onnx(model)
        images = np.random.default_rng(1).standard_normal((3, *session.inputs["image"][1:]), np.float32)
        logits = session.run({"image": images})["logits"]
        codes = reference.run(graph, reference.quantise_images(graph, images))
        np.testing.assert_array_equal(logits, reference.dequantise(graph.output, codes).reshape(3, -1))
