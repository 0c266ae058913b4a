"""A `.tflite` file from an ONNX model: it is read (`reading`), said in TFLite's `operators`, and packed (`file`)."""

from nas_edge.runtimes.tflite.convert import TfliteModel, convert

__all__ = ["TfliteModel", "convert"]
