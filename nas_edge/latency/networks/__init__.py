"""Networks from elsewhere as blocks: Once-for-All's and MCUNet's `net.config`, and ONNX graphs."""

from nas_edge.latency.networks.net_config import is_net_config, read_net_config
from nas_edge.latency.networks.onnx_network import OnnxNetwork, read_onnx

__all__ = ["OnnxNetwork", "is_net_config", "read_net_config", "read_onnx"]
