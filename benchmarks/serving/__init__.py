"""The model server beside ONNX Runtime alone and beside ``mlflow models serve``."""
