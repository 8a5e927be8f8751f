"""Windows to learn from: positives centred on an object, negatives away from every one.

DeepMask 2015, section 3.3, in the units of the 2016 code: distances are in pixels of the
network's input, at the scale of the window in question.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from export.models.deepmask import DeepMaskSpec
from export.training.scenes import Picture, Scene

GREY = 128


@dataclass(frozen=True)
class Jitter:
    """How far a window may be off an object and still ask for it, and when it must not.

    Attributes:
        shift: a positive's largest offset in x and in y, in input pixels.
        octave: a positive's largest scale error, as a power of two.
        negative_shift: a negative is at least this far from an object's centre ...
        negative_octave: ... or at least this far from its scale.
    """

    shift: float
    octave: float = 0.25
    negative_shift: float = 32.0
    negative_octave: float = 1.0

    @classmethod
    def of(cls, spec: DeepMaskSpec) -> Jitter:
        """The paper's 16 and 32 pixels around a 128 pixel object, in proportion.

        Never under half of the windows' stride: any object must be some window's positive.
        """
        unit = spec.object_size / 128
        return cls(shift=max(16 * unit, 9.0), negative_shift=max(32 * unit, 18.0))


@dataclass(frozen=True)
class Window:
    """A square window: its centre in scene pixels, and input pixels per scene pixel."""

    x: float
    y: float
    scale: float


@dataclass(frozen=True)
class Batch:
    """Patches uint8 [B, 3, S, S] RGB, masks int8 [B, T, T] of +1 / -1, labels int8 [B]."""

    patches: NDArray[np.uint8]
    masks: NDArray[np.int8]
    labels: NDArray[np.int8]


class Sampler:
    """Cuts windows out of scenes for one network."""

    def __init__(
        self, spec: DeepMaskSpec, rng: np.random.Generator, jitter: Jitter | None = None
    ) -> None:
        self.spec = spec
        self.rng = rng
        self.jitter = jitter or Jitter.of(spec)

    def batch(self, scene: Scene, count: int) -> Batch | None:
        """`count` windows of one scene, half of them positives; None if it has no object.

        A scene so full that no negative is found gives positives only.
        """
        objects = _Objects.of(scene, self.spec)
        if not objects.asked.any():
            return None
        samples = [self._positive(scene, objects) for _ in range(count - count // 2)]
        for _ in range(count // 2):
            window = self._negative_window(scene, objects)
            if window is not None:
                samples.append((self._patch(scene.picture, window), None))
        patches, masks = [], []
        for patch, mask in samples:
            if self.rng.random() < 0.5:
                patch = patch[:, ::-1]
                mask = None if mask is None else mask[:, ::-1]
            patches.append(patch.transpose(2, 0, 1))
            blank = np.full((self.spec.target,) * 2, -1, np.int8)
            masks.append(blank if mask is None else np.where(mask, 1, -1).astype(np.int8))
        labels = np.array([-1 if mask is None else 1 for _, mask in samples], np.int8)
        return Batch(np.stack(patches), np.stack(masks), labels)

    def _positive(
        self, scene: Scene, objects: _Objects
    ) -> tuple[Picture, NDArray[np.bool_] | None]:
        k = int(self.rng.choice(np.flatnonzero(objects.asked)))
        scale = objects.scales[k] * 2.0 ** self.rng.uniform(-self.jitter.octave, self.jitter.octave)
        dx, dy = self.rng.uniform(-self.jitter.shift, self.jitter.shift, 2) / scale
        window = Window(objects.x[k] + dx, objects.y[k] + dy, scale)
        return self._patch(scene.picture, window), self._mask(scene.masks[k], window)

    def _negative_window(self, scene: Scene, objects: _Objects) -> Window | None:
        for _ in range(50):
            window = self._guess(scene, objects)
            if self.is_negative(window, objects):
                return window
        return None

    def _guess(self, scene: Scene, objects: _Objects) -> Window:
        """Anywhere at any scale; or beside an object; or on it at a wrong scale.

        The last two are what a window between, around or inside real objects looks like: left
        to chance they are rare, and their scores then stay high.
        """
        rng = self.rng
        height, width = scene.picture.shape[:2]
        choice = rng.integers(3)
        if choice == 0:
            smallest = self.spec.patch / max(height, width)
            scale = smallest * 2.0 ** rng.uniform(-0.5, 4)
            return Window(rng.uniform(0, width), rng.uniform(0, height), scale)
        k = int(rng.integers(len(objects.x)))
        if choice == 1:
            scale = objects.scales[k] * 2.0 ** rng.uniform(-0.5, 0.5)
            far = self.jitter.negative_shift * rng.uniform(1, 3) / scale
            angle = rng.uniform(0, 2 * np.pi)
            return Window(
                objects.x[k] + far * np.cos(angle), objects.y[k] + far * np.sin(angle), scale
            )
        off = rng.uniform(1, 2.2) * self.jitter.negative_octave * rng.choice([-1, 1])
        scale = objects.scales[k] * 2.0**off
        dx, dy = rng.uniform(-1, 1, 2) * self.jitter.negative_shift / scale
        return Window(objects.x[k] + dx, objects.y[k] + dy, scale)

    def is_negative(self, window: Window, objects: _Objects) -> bool:
        """Whether every object is far from the window in place or in scale."""
        away = np.hypot(objects.x - window.x, objects.y - window.y) * window.scale
        octaves = np.abs(np.log2(objects.scales / window.scale))
        far = (away >= self.jitter.negative_shift) | (octaves >= self.jitter.negative_octave)
        return bool(far.all())

    def _patch(self, picture: Picture, window: Window) -> Picture:
        """The window and its margin [S, S, 3], S = patch + 2 * margin; grey outside the scene."""
        side = self.spec.patch + 2 * self.spec.margin
        crop = _crop(picture, window, side, GREY)
        shrinks = crop.shape[0] > side and self.spec.resize == "area"
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(crop, (side, side), interpolation=how), np.uint8)

    def _mask(self, mask: NDArray[np.bool_], window: Window) -> NDArray[np.bool_]:
        """The object inside the window proper, bool [target, target]."""
        side, margin = self.spec.patch + 2 * self.spec.margin, self.spec.margin
        crop = _crop(mask.view(np.uint8) * np.uint8(255), window, side, 0)
        how = cv2.INTER_AREA if crop.shape[0] > side else cv2.INTER_LINEAR
        whole = cv2.resize(crop, (side, side), interpolation=how)
        inner = whole[margin : side - margin, margin : side - margin]
        target = (self.spec.target, self.spec.target)
        return np.asarray(cv2.resize(inner, target, interpolation=cv2.INTER_LINEAR) > 127)


@dataclass(frozen=True)
class _Objects:
    """Centres (scene pixels), canonical scales, and which may be asked for; each [N]."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    scales: NDArray[np.float64]
    asked: NDArray[np.bool_]

    @classmethod
    def of(cls, scene: Scene, spec: DeepMaskSpec) -> _Objects:
        boxes = np.array([cv2.boundingRect(m.view(np.uint8)) for m in scene.masks], float)
        x, y, w, h = boxes.reshape(-1, 4).T
        longest = np.maximum(np.maximum(w, h), 1)
        return cls(x + w / 2, y + h / 2, spec.object_size / longest, scene.asked)


def _crop(array: NDArray[np.uint8], window: Window, side: int, outside: int) -> NDArray[np.uint8]:
    """The square of `side` input pixels around the window's centre, at the scene's own scale."""
    size = max(2, round(side / window.scale))
    x0, y0 = round(window.x - size / 2), round(window.y - size / 2)
    height, width = array.shape[:2]
    left, top = max(0, -x0), max(0, -y0)
    right, bottom = max(0, x0 + size - width), max(0, y0 + size - height)
    inside = array[max(0, y0) : max(0, y0 + size), max(0, x0) : max(0, x0 + size)]
    if inside.size == 0:
        return np.full((size, size, *array.shape[2:]), outside, np.uint8)
    if not (left or top or right or bottom):
        return inside
    return cv2.copyMakeBorder(
        inside, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(outside,) * 3
    ).astype(np.uint8, copy=False)
