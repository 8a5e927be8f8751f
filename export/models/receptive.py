"""How far a network looks: the receptive field of a trunk's features, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from export.models.trunks import Bottleneck, SymmetricPad


@dataclass(frozen=True)
class Field:
    """Along one axis, feature i sees the pixels first + i * jump ... first + i * jump + size - 1.

    Attributes:
        first: of feature 0; negative where layers pad.
        size: of the field.
        jump: between two features.
    """

    first: int = 0
    size: int = 1
    jump: int = 1


def field_of(layer: nn.Module, before: Field | None = None) -> Field:
    """The field of a layer's results (Araujo et al. 2019, section 2).

    Args:
        layer: a Sequential of convolutions, pools and layers that work on a value at a time.
        before: of what it is applied to.

    Raises:
        TypeError: a kind of layer that is not known.
    """
    field = before or Field()
    if isinstance(layer, nn.Sequential):
        for inner in layer:
            field = field_of(inner, field)
        return field
    if isinstance(layer, Bottleneck):
        # The shortcut sees the pixel in the middle of what the body sees.
        return field_of(layer.body, field)
    if isinstance(layer, SymmetricPad):
        return replace(field, first=field.first - layer.width * field.jump)
    if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)):
        kernel, stride, padding = (
            _one(n) for n in (layer.kernel_size, layer.stride, layer.padding)
        )
        reach = (kernel - 1) * _one(layer.dilation)
        return Field(
            field.first - padding * field.jump, field.size + reach * field.jump, field.jump * stride
        )
    if isinstance(layer, (nn.ReLU, nn.BatchNorm2d, nn.Identity)):
        return field
    raise TypeError(f"the receptive field of a {type(layer).__name__} is not known")


def _one(value: object) -> int:
    return int(value[0] if isinstance(value, tuple) else value)  # type: ignore[call-overload]


def halo_of(trunk: nn.Module, patch: int) -> int:
    """How many pixels beyond a window of `patch` its features see, on the farther side."""
    field = field_of(trunk)
    last = patch - field.jump  # the window's last feature starts here
    return max(-field.first, field.first + last + field.size - patch)
