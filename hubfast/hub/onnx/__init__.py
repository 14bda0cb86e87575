"""ONNX files (`onnx:FILE`)."""
