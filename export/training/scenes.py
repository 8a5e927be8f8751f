"""Pictures with known masks: a seeded, endless stream of textured shapes over textured grounds.

A scene is drawn back to front, so that objects occlude each other and every mask is the visible
part only, as annotators draw it. Nothing is read from disk and nothing is photographed: a model
trained on these has never seen a real picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from export.training.shapes import SHAPES, Shape

Picture = NDArray[np.uint8]
Field = NDArray[np.float32]

# An object of which less than this share is visible is drawn but never asked for.
MIN_VISIBLE = 0.6


@dataclass(frozen=True)
class Scene:
    """One picture and its instances.

    Attributes:
        picture: uint8 [H, W, 3], RGB.
        masks: bool [N, H, W], the visible part of each instance.
        asked: bool [N]: False for instances that are neither learned nor allowed inside a
            negative window (mostly hidden ones, COCO crowds).
    """

    picture: Picture
    masks: NDArray[np.bool_]
    asked: NDArray[np.bool_]


def procedural_scenes(seed: int, size: int = 320) -> Iterator[Scene]:
    """Yield scenes of `size` x `size` pixels for ever; the same seed gives the same stream."""
    rng = np.random.default_rng(seed)
    while True:
        yield draw_scene(rng, size)


def draw_scene(rng: np.random.Generator, size: int) -> Scene:
    """Draw one scene: ground, objects back to front, light, and what a camera does to it."""
    grey = rng.random() < 0.5
    canvas = _texture(rng, size, size, contrast=rng.uniform(0.02, 0.25))
    canvas *= _light(rng, size)
    ground_level = float(canvas.mean())
    _scratches(rng, canvas)

    masks: list[NDArray[np.bool_]] = []
    typical = size * 2.0 ** rng.uniform(-3.6, -1.2)
    alike = rng.random() < 0.5  # half of the scenes hold things of one kind and similar size
    kind = int(rng.integers(len(SHAPES)))
    crowding = rng.uniform(0.2, 1.0)
    count = int(np.clip(crowding * (size / typical) ** 2 * 0.6, 1, 24))
    spread = 0.25 if alike else 0.7
    for _ in range(count):
        diameter = float(np.clip(typical * 2.0 ** rng.normal(0, spread), 16, size * 0.8))
        shape = SHAPES[kind if alike else int(rng.integers(len(SHAPES)))]
        alpha = _place(rng, shape, diameter, size, masks)
        if alpha is None:
            continue
        _paint(rng, canvas, alpha, diameter, ground_level)
        mask = alpha > 0.5
        for below in masks:
            below &= ~mask
        masks.append(mask)

    picture = _photograph(rng, canvas, grey)
    return _scene(picture, masks)


def _scene(picture: Picture, masks: list[NDArray[np.bool_]]) -> Scene:
    kept: list[NDArray[np.bool_]] = []
    asked: list[bool] = []
    for mask in masks:
        area = int(mask.sum())
        if area < 40:
            continue
        hull = cv2.convexHull(cv2.findNonZero(mask.view(np.uint8)))
        whole = cv2.connectedComponents(mask.view(np.uint8))[0] == 2
        kept.append(mask)
        asked.append(whole and area > MIN_VISIBLE * max(cv2.contourArea(hull), 1.0))
    height, width = picture.shape[:2]
    stacked = np.stack(kept) if kept else np.zeros((0, height, width), bool)
    return Scene(picture, stacked, np.array(asked, bool))


# ---- grounds and light


def _noise(rng: np.random.Generator, height: int, width: int, cell: float) -> Field:
    """Smooth noise in about [-1, 1] with features of `cell` pixels."""
    rows, columns = max(2, round(height / cell) + 1), max(2, round(width / cell) + 1)
    coarse = rng.standard_normal((rows, columns)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(0.5)


def _pattern(rng: np.random.Generator, height: int, width: int) -> Field:
    """A texture in about [-1, 1]: fractal noise, stripes, checks, or grain."""
    choice = rng.integers(4)
    if choice == 0:
        field = np.zeros((height, width), np.float32)
        cell = max(height, width) * rng.uniform(0.1, 0.6)
        for octave in range(4):
            field += _noise(rng, height, width, max(cell / 2**octave, 1.5)) * 0.7**octave
        return field
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    period = max(3.0, max(height, width) * rng.uniform(0.04, 0.4))
    u = (np.cos(angle) * x + np.sin(angle) * y) * (2 * np.pi / period)
    warp = _noise(rng, height, width, period * 2) * rng.uniform(0, 3)
    if choice == 1:
        return np.sin(u + warp)
    if choice == 2:
        v = (np.cos(angle) * y - np.sin(angle) * x) * (2 * np.pi / period)
        return np.tanh(4 * np.sin(u + warp) * np.sin(v + warp))
    return rng.standard_normal((height, width)).astype(np.float32) * 0.6


def _texture(rng: np.random.Generator, height: int, width: int, contrast: float) -> Field:
    """A textured surface [H, W, 3] around a random colour, values in about [0, 1]."""
    base = rng.uniform(0.08, 0.95) * (1 + rng.normal(0, 0.15, 3))
    tint = 1 + rng.normal(0, 0.3, 3)
    field = _pattern(rng, height, width)
    if rng.random() < 0.5:
        field = field + _pattern(rng, height, width) * rng.uniform(0.2, 0.8)
    surface = base + contrast * field[..., None] * tint
    return np.clip(surface, 0, 1.1).astype(np.float32)


def _light(rng: np.random.Generator, size: int) -> Field:
    """Uneven light [H, W, 1]: a slope, a slow blotch, and sometimes a vignette."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0, 0.9) * (np.cos(angle) * x + np.sin(angle) * y)
    light = light + rng.uniform(0, 0.4) * _noise(rng, size, size, size / 2)
    if rng.random() < 0.3:
        light = light - rng.uniform(0.2, 0.8) * (x * x + y * y)
    return np.clip(light, 0.15, 2).astype(np.float32)[..., None]


def _scratches(rng: np.random.Generator, canvas: Field) -> None:
    """Lines and specks that are no objects."""
    size = canvas.shape[0]
    for _ in range(int(rng.integers(0, 6))):
        a, b = rng.integers(0, size, 2), rng.integers(0, size, 2)
        tone = float(rng.uniform(0, 1))
        cv2.line(canvas, a.tolist(), b.tolist(), (tone,) * 3, int(rng.integers(1, 3)), cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 25))):
        centre = rng.integers(0, size, 2).tolist()
        tone = float(rng.uniform(0, 1))
        cv2.circle(canvas, centre, int(rng.integers(1, 4)), (tone,) * 3, -1, cv2.LINE_AA)


def _place(
    rng: np.random.Generator,
    shape: Shape,
    diameter: float,
    size: int,
    placed: list[NDArray[np.bool_]],
) -> Field | None:
    """Draw the shape's coverage [H, W] in [0, 1] somewhere; None if it would bury what is there."""
    outline = shape(rng)
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    outline = outline @ turn.T * (diameter / 2)
    for _ in range(4):
        centre = rng.uniform(-0.02, 1.02, 2) * size
        points = np.round((outline + centre) * 16).astype(np.int32)
        alpha = np.zeros((size, size), np.uint8)
        cv2.fillPoly(alpha, [points], 255, cv2.LINE_AA, shift=4)
        covered = alpha > 127
        if not covered.any():
            continue
        taken = sum(int((covered & other).sum()) for other in placed)
        # Touching and overlapping things are wanted, but not too many.
        if taken > 0.25 * covered.sum() or (taken > 0 and rng.random() < 0.6):
            continue
        return alpha.astype(np.float32) / np.float32(255)
    return None


def _paint(
    rng: np.random.Generator, canvas: Field, alpha: Field, diameter: float, ground: float
) -> None:
    """Lay one textured, lit object over the canvas, with a shadow and a rim at times."""
    ys, xs = np.nonzero(alpha)
    reach = int(diameter * 0.15) + 3
    y0, y1 = max(ys.min() - reach, 0), min(ys.max() + reach + 1, canvas.shape[0])
    x0, x1 = max(xs.min() - reach, 0), min(xs.max() + reach + 1, canvas.shape[1])
    a = alpha[y0:y1, x0:x1]
    under = canvas[y0:y1, x0:x1]
    height, width = a.shape

    if rng.random() < 0.4:
        offset = rng.normal(0, diameter * 0.05, 2)
        shift = np.array([[1, 0, offset[0]], [0, 1, offset[1]]], np.float32)
        shade = cv2.GaussianBlur(
            cv2.warpAffine(a, shift, (width, height)), (0, 0), max(diameter * 0.03, 0.7)
        )
        under *= 1 - shade[..., None] * np.float32(rng.uniform(0.2, 0.7))

    surface = _texture(rng, height, width, contrast=rng.uniform(0.02, 0.35))
    level = float(surface.mean())
    if abs(level - ground) < 0.12:  # else some objects could not be seen at all
        surface += np.float32(0.2 if ground < 0.5 else -0.2)
    if rng.random() < 0.5:
        surface *= _relief(rng, height, width, diameter)
    if rng.random() < 0.5:
        inner = cv2.GaussianBlur(a, (0, 0), max(diameter * rng.uniform(0.02, 0.1), 0.7))
        rim = np.clip(1.5 - inner * 1.5, 0, 1)[..., None]
        surface *= 1 + rim * np.float32(rng.uniform(-0.9, 0.9))
    if rng.random() < 0.4:  # a rounded body: brighter towards the light
        dome = cv2.GaussianBlur(a, (0, 0), max(diameter * 0.15, 1))
        gy, gx = np.gradient(dome)
        angle = rng.uniform(0, 2 * np.pi)
        slope = (np.cos(angle) * gx + np.sin(angle) * gy) * np.float32(diameter)
        surface *= 1 + np.clip(slope, -1, 1)[..., None] * np.float32(rng.uniform(0.1, 0.6))
    np.clip(surface, 0, 1.2, out=surface)
    under += (surface - under) * a[..., None]


def _relief(rng: np.random.Generator, height: int, width: int, diameter: float) -> Field:
    """Embossed strokes and dents, lit from one side: [H, W, 1] around 1."""
    bumps = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(2, 12))):
        a = rng.uniform(0.1, 0.9, 2) * (width, height)
        b = a + rng.normal(0, diameter * 0.2, 2)
        thick = max(1, int(diameter * rng.uniform(0.02, 0.15)))
        tone = float(rng.uniform(-1, 1))
        if rng.random() < 0.5:
            cv2.line(bumps, a.astype(int).tolist(), b.astype(int).tolist(), tone, thick)
        else:
            axes = (max(1, int(diameter * rng.uniform(0.03, 0.25))), thick)
            cv2.ellipse(bumps, a.astype(int).tolist(), axes, rng.uniform(0, 180), 0, 360, tone, -1)
    bumps += _noise(rng, height, width, max(diameter * 0.12, 2)) * np.float32(rng.uniform(0, 0.8))
    bumps = cv2.GaussianBlur(bumps, (0, 0), max(diameter * 0.015, 0.6))
    gy, gx = np.gradient(bumps)
    angle = rng.uniform(0, 2 * np.pi)
    lit = np.cos(angle) * gx + np.sin(angle) * gy
    strength = rng.uniform(0.2, 0.9) / max(float(np.abs(lit).max()), 1e-6)
    return (1 + lit * np.float32(strength * 1.2))[..., None].astype(np.float32)


def _photograph(rng: np.random.Generator, canvas: Field, grey: bool) -> Picture:
    """Exposure, blur, sensor noise and JPEG: uint8 [H, W, 3]."""
    picture = canvas * np.float32(rng.uniform(0.7, 1.2))
    picture = np.clip(picture, 0, 1) ** np.float32(rng.uniform(0.7, 1.5))
    if rng.random() < 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.4))
    noise = rng.standard_normal(picture.shape[:2] + ((1,) if grey else (3,)), np.float32)
    picture = picture + noise * np.float32(rng.uniform(0, 0.05))
    eight = (np.clip(picture, 0, 1) * 255).astype(np.uint8)
    if grey:
        eight = np.repeat(cv2.cvtColor(eight, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))]
        eight = cv2.imdecode(cv2.imencode(".jpg", eight, quality)[1], cv2.IMREAD_COLOR)
    return eight
