"""The model server: ONNX Runtime behind the Open Inference Protocol, and predictions by entity.

python -m mlinfra.serving        # in a pod; its environment says what is served
mlinfra serve models:/my_model@production
"""
