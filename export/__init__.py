"""The PyTorch side: models, training, and the way from a checkpoint to ONNX and TensorRT.

The only folder that imports torch.
"""
