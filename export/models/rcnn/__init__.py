"""Faster, Mask and Keypoint R-CNN as one graph of fixed shapes."""
