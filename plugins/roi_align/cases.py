"""Named inputs that every form of PyramidRoiAlign is run on."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plugins.roi_align.op import RoiAlignAttributes

Array = NDArray[np.float32]
SIZE = (200, 264)


class Case(NamedTuple):
    """Boxes [B, R, 4], one [B, C, H, W] a level, and what the node is told."""

    boxes: Array
    features: list[Array]
    attributes: RoiAlignAttributes


def cases() -> dict[str, Case]:
    """The cases by name."""
    rng = np.random.default_rng(0)
    height, width = SIZE

    def features(strides: tuple[int, ...], pictures: int = 2) -> list[Array]:
        return [
            rng.random((pictures, 5, -(-height // s), -(-width // s)), dtype=np.float32)
            for s in strides
        ]

    def boxes(octaves: tuple[float, float], count: int = 12, pictures: int = 2) -> Array:
        centre = rng.random((pictures, count, 2)) * (width, height)
        side = 2.0 ** rng.uniform(*octaves, (pictures, count, 2))
        return np.concatenate([centre - side / 2, centre + side / 2], -1).astype(np.float32)

    pyramid = (4, 8, 16, 32)
    inside = np.clip(boxes((2, 8)), 0, [width, height, width, height]).astype(np.float32)
    torchvision = RoiAlignAttributes(7, 2, aligned=False)
    detectron2 = RoiAlignAttributes(7, 0, aligned=True, eps_ratio=1e-8, eps_level=0.0)
    single = replace(torchvision, strides=(16,), finest_level=4, output_size=5)
    broken = boxes((3, 6))
    broken[0, 0, 1], broken[0, 1, 2], broken[1, 3, 0] = np.nan, np.inf, -np.inf
    # Sides whose level is exactly on the edge between two.
    edges = np.array([112.0, 224.0, 111.99, 448.0])[None, :, None]
    on_edge = np.concatenate([edges * 0, edges * 0, edges, edges], -1).astype(np.float32)
    return {
        "torchvision's rules": Case(inside, features(pyramid), torchvision),
        "detectron2's rules": Case(inside, features(pyramid), detectron2),
        "aligned, two samples": Case(
            inside, features(pyramid), replace(detectron2, sampling_ratio=2)
        ),
        "adaptive, not aligned": Case(
            inside, features(pyramid), replace(torchvision, sampling_ratio=0)
        ),
        "over the border": Case(boxes((4, 9)), features(pyramid), torchvision),
        "over the border, aligned": Case(boxes((4, 9)), features(pyramid), detectron2),
        "far outside": Case(inside + 4000, features(pyramid), torchvision),
        "tiny": Case(boxes((-4, 0)), features(pyramid), torchvision),
        "no area": Case(inside[..., [0, 1, 0, 1]], features(pyramid), torchvision),
        "not finite": Case(broken, features(pyramid), torchvision),
        "between two levels": Case(on_edge, features(pyramid, 1), torchvision),
        "one level": Case(inside, features((16,)), single),
        "one sample, one bin": Case(
            inside, features(pyramid), replace(torchvision, sampling_ratio=1, output_size=1)
        ),
        "14 x 14": Case(inside, features(pyramid), replace(torchvision, output_size=14)),
        # More samples along an axis than a kernel's tables hold.
        "larger than the picture": Case(
            np.array([[[-9000, -9000, 9000, 9000]]], np.float32),
            features(pyramid, 1),
            replace(detectron2, output_size=2),
        ),
        "no regions": Case(inside[:, :0], features(pyramid), torchvision),
    }


def pyramid(
    regions: int, channels: int, height: int, width: int, attributes: RoiAlignAttributes
) -> Case:
    """Boxes of 16 to 724 pixels inside a picture, and a pyramid of its size: for benchmarks."""
    rng = np.random.default_rng(0)
    levels = [
        rng.random((1, channels, -(-height // s), -(-width // s)), dtype=np.float32)
        for s in attributes.strides
    ]
    centre = rng.random((1, regions, 2)) * (width, height)
    side = 2.0 ** rng.uniform(4, 9.5, (1, regions, 2))
    boxes = np.concatenate([centre - side / 2, centre + side / 2], -1)
    boxes = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
    return Case(boxes, levels, attributes)
