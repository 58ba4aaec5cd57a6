"""Networks from ONNX files. Needs onnx, the extra `onnx`."""

from cnnx.onnx.load import load

__all__ = ["load"]
