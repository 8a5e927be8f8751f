"""Outlines to draw: closed, random, in the unit disc."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Outline: TypeAlias = NDArray[np.float64]  # [K, 2] xy, each in [-1, 1]
Shape: TypeAlias = Callable[[np.random.Generator], Outline]


def _ellipse(rng: np.random.Generator) -> Outline:
    t = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    flat = 1.0 if rng.random() < 0.6 else rng.uniform(0.45, 1.0)
    return np.stack([np.cos(t), flat * np.sin(t)], 1)


def _lobed(rng: np.random.Generator) -> Outline:
    """A blob: a circle whose radius follows a few random harmonics."""
    t = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    radius = np.ones_like(t)
    for k in range(2, 7):
        radius += rng.normal(0, 0.28 / k) * np.cos(k * t + rng.uniform(0, 2 * np.pi))
    radius = np.clip(radius, 0.35, None)
    points = np.stack([radius * np.cos(t), radius * np.sin(t)], 1)
    return points / np.abs(points).max()


def _polygon(rng: np.random.Generator) -> Outline:
    corners = int(rng.integers(3, 8))
    t = (np.arange(corners) + rng.uniform(-0.25, 0.25, corners)) * (2 * np.pi / corners)
    radius = rng.uniform(0.8, 1.0, corners)
    return np.stack([radius * np.cos(t), radius * np.sin(t)], 1)


def _box(rng: np.random.Generator) -> Outline:
    """A superellipse: between an ellipse and a rectangle with round corners."""
    t = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    power, flat = rng.uniform(0.15, 0.7), rng.uniform(0.4, 1.0)
    c, s = np.cos(t), np.sin(t)
    x, y = np.sign(c) * np.abs(c) ** power, np.sign(s) * np.abs(s) ** power
    return np.stack([x, flat * y], 1)


def _star(rng: np.random.Generator) -> Outline:
    points = int(rng.integers(4, 9))
    t = np.arange(2 * points) * (np.pi / points)
    radius = np.where(np.arange(2 * points) % 2 == 0, 1.0, rng.uniform(0.45, 0.8))
    return np.stack([radius * np.cos(t), radius * np.sin(t)], 1)


SHAPES: tuple[Shape, ...] = (_ellipse, _ellipse, _lobed, _lobed, _polygon, _box, _star)
"""What scenes are drawn from; round things are the commonest."""
