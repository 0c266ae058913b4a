"""What every runtime must do. Subclass `RuntimeContract` and give it a `runtime` fixture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas_edge.errors import MeasurementError, SpaceError
from nas_edge.runtimes import Runtime, get_runtime, runtime_names
from nas_edge.spaces import Activation, BlockSpec, Kind, Padding
from nas_edge.spaces.onnx_blocks import build_onnx, seeded_weights

BLOCK = BlockSpec(Kind.INVERTED_RESIDUAL, 12, 12, 16, 48, 16, 3, 1, 48, Padding.SAME, Activation.RELU6, residual=True)


class RuntimeContract:
    """A subclass provides the fixture `runtime`; it runs fp32 models or those that it names."""

    tolerance = 1e-4

    @pytest.fixture
    def runtime(self) -> Runtime:
        raise pytest.UsageError("a subclass of RuntimeContract provides the fixture 'runtime'")

    @pytest.fixture
    def session(self, runtime):
        session = runtime.prepare(build_onnx((BLOCK,), seed=1).SerializeToString(), runtime.precisions[0], 1)
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
        session = runtime.prepare(build_onnx((BLOCK,), weights).SerializeToString(), runtime.precisions[0], 1)
        x = np.random.default_rng(0).standard_normal((1, 16, 12, 12), np.float32)
        np.testing.assert_allclose(session.run({"input": x})["output"], x, atol=self.tolerance)
        session.close()

    def test_a_dynamic_batch_takes_any_batch(self, runtime):
        session = runtime.prepare(build_onnx((BLOCK,), batch=None).SerializeToString(), runtime.precisions[0], 1)
        assert session.run({"input": np.ones((3, 16, 12, 12))})["output"].shape[0] == 3
        assert session.time(1).shape == (1,)
        session.close()

    def test_times_are_positive_milliseconds(self, session):
        times = session.time(5)
        assert times.shape == (5,)
        assert times.dtype == np.float64
        assert (times > 0).all()
        assert np.median(times) < 100

    def test_more_work_takes_longer(self, runtime, session):
        large = replace(BLOCK, height=96, width=96)
        other = runtime.prepare(build_onnx((large,)).SerializeToString(), runtime.precisions[0], 1)
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
            runtime.prepare(b"not a model", runtime.precisions[0], 1)
        assert "\n" not in str(caught.value)

    def test_unknown_precisions_and_no_threads_are_refused(self, runtime):
        model = build_onnx((BLOCK,)).SerializeToString()
        with pytest.raises(SpaceError, match="'fp3'"):
            runtime.prepare(model, "fp3", 1)
        with pytest.raises(SpaceError, match="at least one thread"):
            runtime.prepare(model, runtime.precisions[0], 0)

    def test_a_closed_session_says_so(self, runtime):
        session = runtime.prepare(build_onnx((BLOCK,)).SerializeToString(), runtime.precisions[0], 1)
        session.close()
        with pytest.raises(MeasurementError, match="closed"):
            session.time(1)
