"""From a subnet to a file that a device runs: fold, write ONNX, prove that it computes the same, pack to deploy."""
