"""What every runtime must do. Subclass `RuntimeContract` and give it a `runtime` fixture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas_edge.errors import MeasurementError, SpaceError
from nas_edge.runtimes import Runtime, get_runtime, runtime_names
from nas_edge.spaces import Activation, BlockSpec, Kind, Padding
from nas_edge.spaces.onnx_blocks import build_onnx, seeded_weights
from nas_edge.spaces.onnx_quantise import quantise
from nas_edge.spaces.onnx_ranges import RangeMethod, observe

BLOCK = BlockSpec(Kind.INVERTED_RESIDUAL, 12, 12, 16, 48, 16, 3, 1, 48, Padding.SAME, Activation.RELU6, residual=True)


def int8_model(*args, **options) -> bytes:
    """What `build_onnx` makes of these arguments, quantised for inputs of normal numbers."""
    model = build_onnx(*args, **options)
    shape = [d.dim_value or 1 for d in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    return quantise(model, observe(model, [x], RangeMethod.EXTREMES)).SerializeToString()


class RuntimeContract:
    """A subclass provides the fixture `runtime`, and names the precision that it is tested in."""

    precision = "fp32"
    tolerance = 1e-4

    def model(self, *args, **options) -> bytes:
        """What `build_onnx` makes of these arguments, in the precision of this class."""
        if self.precision == "int8":
            return int8_model(*args, **options)
        return build_onnx(*args, **options).SerializeToString()

    @pytest.fixture
    def runtime(self) -> Runtime:
        raise pytest.UsageError("a subclass of RuntimeContract provides the fixture 'runtime'")

    @pytest.fixture
    def session(self, runtime):
        session = runtime.prepare(self.model((BLOCK,), seed=1), self.precision, 1)
        yield session
        session.close()

    def test_it_is_found_by_its_name(self, runtime):
        assert runtime.name in runtime_names()
        assert get_runtime(runtime.name).name == runtime.name

    def test_it_has_a_version(self, runtime):
        assert runtime.version()[0].isdigit()

    def test_it_says_what_a_model_takes(self, session):
        assert dict(session.inputs) == {"input": (1, 16, 12, 12)}

    def test_outputs_are_named_finite_float32(self, session):
        x = np.random.default_rng(0).standard_normal((1, 16, 12, 12), np.float32)
        output = session.run({"input": x})["output"]
        assert output.shape == (1, 16, 12, 12)
        assert output.dtype == np.float32
        assert np.isfinite(output).all()

    def test_a_block_of_zero_weights_gives_back_its_input(self, runtime):
        weights = {name: np.zeros_like(value) for name, value in seeded_weights((BLOCK,)).items()}
        session = runtime.prepare(self.model((BLOCK,), weights), self.precision, 1)
        x = np.random.default_rng(0).standard_normal((1, 16, 12, 12), np.float32)
        np.testing.assert_allclose(session.run({"input": x})["output"], x, atol=self.tolerance)
        session.close()

    def test_a_dynamic_batch_takes_any_batch(self, runtime):
        session = runtime.prepare(self.model((BLOCK,), batch=None), self.precision, 1)
        assert session.run({"input": np.ones((3, 16, 12, 12))})["output"].shape[0] == 3
        assert session.time(1).shape == (1,)
        session.close()

    def test_a_model_of_another_precision_is_refused_in_one_line(self, runtime):
        models = {"fp32": build_onnx((BLOCK,)).SerializeToString(), "int8": int8_model((BLOCK,))}
        for other, model in models.items():
            if other != self.precision:
                with pytest.raises(MeasurementError, match=f"computes in {other}, not {self.precision}; ") as caught:
                    runtime.prepare(model, self.precision, 1)
                assert "\n" not in str(caught.value)

    def test_it_computes_what_the_float_model_means(self, runtime):
        from onnx.reference import ReferenceEvaluator

        x = np.random.default_rng(0).standard_normal((1, 16, 12, 12), np.float32)
        wanted = ReferenceEvaluator(build_onnx((BLOCK,), seed=1)).run(None, {"input": x})[0]
        session = runtime.prepare(self.model((BLOCK,), seed=1), self.precision, 1)
        assert np.abs(session.run({"input": x})["output"] - wanted).max() < self.tolerance * np.abs(wanted).max()
        session.close()

    def test_times_are_positive_milliseconds(self, session):
        times = session.time(5)
        assert times.shape == (5,)
        assert times.dtype == np.float64
        assert (times > 0).all()
        assert np.median(times) < 100

    def test_more_work_takes_longer(self, runtime, session):
        large = replace(BLOCK, height=96, width=96)
        other = runtime.prepare(self.model((large,)), self.precision, 1)
        assert min(other.time(10)) > 3 * min(session.time(10))
        other.close()

    def test_timing_leaves_the_outputs_alone(self, session):
        x = np.random.default_rng(0).standard_normal((1, 16, 12, 12), np.float32)
        before = session.run({"input": x})["output"].copy()
        session.time(3)
        np.testing.assert_array_equal(session.run({"input": x})["output"], before)

    def test_inputs_that_do_not_fit_are_named(self, session):
        with pytest.raises(MeasurementError, match=r"input 'input' .* is missing; given: other"):
            session.run({"other": np.ones((1, 16, 12, 12))})
        with pytest.raises(MeasurementError, match=r"has shape \(1, 16, 12, 13\), the model takes \(1, 16, 12, 12\)"):
            session.run({"input": np.ones((1, 16, 12, 13))})
        with pytest.raises(MeasurementError, match="has shape"):
            session.run({"input": np.ones((16, 12, 12))})

    def test_what_is_not_a_model_is_refused_in_one_line(self, runtime):
        with pytest.raises(MeasurementError) as caught:
            runtime.prepare(b"not a model", self.precision, 1)
        assert "\n" not in str(caught.value)

    def test_unknown_precisions_and_no_threads_are_refused(self, runtime):
        model = self.model((BLOCK,))
        with pytest.raises(SpaceError, match="'fp3'"):
            runtime.prepare(model, "fp3", 1)
        with pytest.raises(SpaceError, match="at least one thread"):
            runtime.prepare(model, self.precision, 0)

    def test_a_closed_session_says_so(self, runtime):
        session = runtime.prepare(self.model((BLOCK,)), self.precision, 1)
        session.close()
        with pytest.raises(MeasurementError, match="closed"):
            session.time(1)
