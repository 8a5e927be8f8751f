"""PyramidRoiAlign: each region's features, from the pyramid level that fits its size."""
