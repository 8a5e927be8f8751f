"""Masks pasted into the picture's pixels on the device: `engine.paste` as a CUDA kernel."""
