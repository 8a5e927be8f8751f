"""Batches by number: batch k of a seed is always the same, so that a run can stop and go on."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
from torch.utils.data import Dataset

from export.models.deepmask import DeepMaskSpec
from export.training.sampler import Batch, Sampler
from export.training.scenes import Scene, draw_scene

WINDOWS_PER_SCENE = 16


class SceneSource(Protocol):
    """Where scenes come from: drawn, or read from a data set."""

    def scene(self, rng: np.random.Generator) -> Scene:
        """A scene chosen by `rng`."""
        ...


class Procedural:
    """Drawn scenes of `size` x `size` pixels."""

    def __init__(self, size: int = 320) -> None:
        self.size = size

    def scene(self, rng: np.random.Generator) -> Scene:
        """Draw one."""
        return draw_scene(rng, self.size)


class Batches(Dataset[Batch]):
    """`steps` batches of `size` windows, half positives and half negatives."""

    def __init__(
        self, spec: DeepMaskSpec, source: SceneSource, *, size: int, steps: int, seed: int
    ) -> None:
        self.spec, self.source = spec, source
        self.size, self.steps, self.seed = size, steps, seed

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        cv2.setNumThreads(1)  # a loader has workers enough
        rng = np.random.default_rng([self.seed, step])
        sampler = Sampler(self.spec, rng)
        parts: list[Batch] = []
        missing = self.size
        while missing > 0:
            part = sampler.batch(self.source.scene(rng), min(WINDOWS_PER_SCENE, missing))
            if part is not None:
                parts.append(part)
                missing -= len(part.labels)
        return Batch(
            np.concatenate([p.patches for p in parts]),
            np.concatenate([p.masks for p in parts]),
            np.concatenate([p.labels for p in parts]),
        )
