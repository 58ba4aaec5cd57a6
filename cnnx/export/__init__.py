"""A model as a file for other programs: ONNX."""
