"""The accuracy predictor (inference in numpy, with its gradient) and the measured subnets it is fitted to."""

from nas_edge.accuracy.dataset import AccuracySet, read_accuracy, write_accuracy
from nas_edge.accuracy.features import FeatureLayout
from nas_edge.accuracy.predictor import AccuracyPredictor
from nas_edge.accuracy.quality import NoiseCeiling, ceiling_of, kendall_tau, noise_ceiling, rmse

__all__ = [
    "AccuracyPredictor", "AccuracySet", "FeatureLayout", "NoiseCeiling", "ceiling_of", "kendall_tau",
    "noise_ceiling", "read_accuracy", "rmse", "write_accuracy",
]  # fmt: skip
