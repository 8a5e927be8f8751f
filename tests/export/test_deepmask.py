"""The networks: their sizes, and that every quicker form is the same function as the plain one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from export.models.deepmask import MODELS, DeepMask, normalize
from export.models.dense import GREY, DenseDeepMask, fold_batch_norms, window_count
from export.models.trunks import SymmetricPad

# Worked out from the layers: VGG-A's eight convolutions, ResNet-50 to conv4 with a bias each.
VGG_A = sum(
    (9 * c + 1) * k
    for c, k in ((3, 64), (64, 128), (128, 256), (256, 256), (256, 512), *[(512, 512)] * 3)
)
VGG_MASK = (512 + 1) * 512 + (512 * 14 * 14 + 1) * 512 + (512 + 1) * 56 * 56
VGG_FULL_MASK = (512 + 1) * 512 + (512 * 14 * 14 + 1) * 56 * 56
VGG_SCORE = (512 * 7 * 7 + 1) * 512 + (512 + 1) * 1024 + 1024 + 1
RESNET_HEADS = (
    (1024 + 1) * 128 + (128 * 10 * 10 + 1) * 512 + (512 + 1) * 56 * 56
    + (512 + 1) * 1024 + 1024 + 1
)  # fmt: skip


def _bottlenecks() -> int:
    total, channels = (3 * 49 + 1) * 64, 64
    for width, blocks in ((64, 3), (128, 4), (256, 6)):
        for block in range(blocks):
            total += (channels + 1) * width + (9 * width + 1) * width + (width + 1) * 4 * width
            total += (channels + 1) * 4 * width if block == 0 else 0
            channels = 4 * width
    return total


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("deepmask_vgg", VGG_A + VGG_MASK + VGG_SCORE),
        ("deepmask_vgg_zoom", VGG_A + VGG_MASK + VGG_SCORE),
        ("deepmask_vgg_full", VGG_A + VGG_FULL_MASK + VGG_SCORE),
        ("deepmask_resnet50", _bottlenecks() + RESNET_HEADS),
    ],
)
def test_parameter_counts(name: str, count: int) -> None:
    """A published net has exactly the parameters that its layers add up to."""
    with torch.device("meta"):
        model = MODELS[name]()
    assert sum(p.numel() for p in model.parameters()) == count


def test_published_sizes() -> None:
    """The 2015 net has about 75 M parameters, Full over 300 M, and Zoom one finer scale."""
    assert round((VGG_A + VGG_MASK + VGG_SCORE) / 1e6) == 76
    assert VGG_A + VGG_FULL_MASK + VGG_SCORE > 300e6
    with torch.device("meta"):
        plain, zoom = MODELS["deepmask_vgg"]().spec, MODELS["deepmask_vgg_zoom"]().spec
        released = MODELS["deepmask_resnet50"]().spec
    assert zoom.scales[:-1] == plain.scales
    assert zoom.scales[-1] == pytest.approx(plain.scales[-1] * 2**0.5)
    assert (plain.scales[0], plain.scales[-1]) == (0.25, 2)
    assert released.scales[0] == pytest.approx(2**-2.5)
    assert released.scales[-1] == pytest.approx(2**0.5)


@pytest.mark.parametrize("name", ["deepmask_vgg", "deepmask_resnet50", "deepmask_small"])
def test_a_patch_gives_one_mask_and_one_score(name: str) -> None:
    """A batch of patches, with or without its margin, gives 56 x 56 logits and a score each."""
    model = MODELS[name]().eval()
    spec = model.spec
    for margin in {0, spec.margin}:
        side = spec.patch + 2 * margin
        with torch.no_grad():
            masks, scores = model(torch.zeros(2, 3, side, side))
        assert masks.shape == (2, 56, 56)
        assert scores.shape == (2,)


def test_heads_are_those_of_the_papers() -> None:
    """No ReLU after the low-rank layer; dropout of one half; the release's threshold."""
    with torch.device("meta"):
        vgg, resnet = MODELS["deepmask_vgg"](), MODELS["deepmask_resnet50"]()
    kinds = [type(layer).__name__ for layer in vgg.mask_head]
    assert kinds == ["Conv2d", "Conv2d"]
    kinds = [type(layer).__name__ for layer in vgg.score_head]
    assert kinds == ["Conv2d", "ReLU", "Dropout", "Conv2d", "ReLU", "Dropout", "Conv2d"]
    kinds = [type(layer).__name__ for layer in resnet.score_head]
    assert kinds == ["Dropout", "Conv2d", "Threshold", "Dropout", "Conv2d"]
    assert (resnet.score_head[2].threshold, resnet.score_head[2].value) == (0, 1e-6)
    assert [type(layer).__name__ for layer in resnet.mask_base] == ["Conv2d", "ReLU", "Conv2d"]


@pytest.mark.parametrize("width", [1, 3])
def test_symmetric_padding_repeats_the_edge(width: int) -> None:
    """Padding mirrors the border with the edge pixel itself, as numpy's "symmetric" does."""
    x = torch.arange(2 * 3 * 5 * 4, dtype=torch.float32).reshape(2, 3, 5, 4)
    sides = ((0, 0), (0, 0), (width, width), (width, width))
    np.testing.assert_array_equal(
        SymmetricPad(width)(x).numpy(), np.pad(x.numpy(), sides, mode="symmetric")
    )


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(8, 19), columns=st.integers(8, 19), seed=st.integers(0, 99))
def test_fine_stride_equals_shift_pool_and_interleave(rows: int, columns: int, seed: int) -> None:
    """The stride-1 pool with dilation gives the score map of OverFeat's four shifted pools."""
    torch.manual_seed(seed)
    model = _small()
    features = torch.randn(1, 128, rows, columns)
    with torch.no_grad():
        base = model.mask_base(features)
        fine = model.score_map(features, base)
        literal = model.score_map_interleaved(features, base)
    assert fine.shape == (1, rows - 7, columns - 7)
    torch.testing.assert_close(fine, literal, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["deepmask_small", "deepmask_resnet50", "deepmask_vgg_full"])
def test_masks_of_winners_equal_the_dense_mask_head(name: str) -> None:
    """Gathering the winners' features gives what the mask head at every window has there."""
    torch.manual_seed(1)
    if name == "deepmask_vgg_full":  # its one-layer head, at a size that fits a test
        model = _small()
        model.mask_head = torch.nn.Sequential(torch.nn.Conv2d(64, 56 * 56, 8))
    else:
        model = MODELS[name]().eval()
    picture = torch.randint(0, 256, (70, 101, 3), dtype=torch.uint8)
    with torch.no_grad():
        first = DenseDeepMask(model, 20)([picture], torch.zeros(1))
        every = DenseDeepMask(model, 20, every_mask=True)([picture], torch.zeros(1))
    assert first.count.item() == 20
    for a, b in zip(first, every, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["deepmask_small", "deepmask_resnet50"])
def test_a_window_is_the_patch_at_its_place(name: str) -> None:
    """Window (i, j) of a picture is what the patch centred at pixel (16 i, 16 j) gives alone.

    The patch gets as much context as the trunk sees, so that borders do not differ.
    """
    torch.manual_seed(2)
    model = MODELS[name]().eval()
    spec = model.spec
    picture = torch.randint(0, 256, (150, 180, 3), dtype=torch.uint8)
    dense = DenseDeepMask(model, window_count(150, 180))
    with torch.no_grad():
        winners = dense([picture], torch.zeros(1))
        places = winners.windows[: winners.count].tolist()
        assert len(places) == len({tuple(p) for p in places}) == window_count(150, 180)
        for i, j in ((4, 5), (3, 7), (0, 0)):
            # Only where the border is far: then the surroundings are the same grey.
            margin = 192 if name == "deepmask_resnet50" else 80
            reach = spec.patch // 2 + margin
            padded = torch.full((150 + 2 * reach, 180 + 2 * reach, 3), GREY)
            padded[reach:-reach, reach:-reach] = picture.float()
            top, left = 16 * i, 16 * j
            patch = padded[top : top + 2 * reach, left : left + 2 * reach]
            x = normalize(patch.permute(2, 0, 1)[None].flip(1), spec)
            mask, score = model(x)
            row = places.index([i, j])
            if (i, j) == (0, 0):  # here the graph's own border is in sight
                assert abs(winners.scores[row] - torch.sigmoid(score[0])) < 0.05
                continue
            assert winners.scores[row] == pytest.approx(torch.sigmoid(score[0]).item(), abs=2e-4)
            torch.testing.assert_close(winners.masks[row], mask[0], atol=2e-3, rtol=1e-3)


def test_folded_batch_norms_change_nothing() -> None:
    """The trunk without batch norms computes what the trunk with them does."""
    torch.manual_seed(3)
    model = _small()
    for layer in model.trunk:
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.weight, 0.5, 2)
            torch.nn.init.normal_(layer.bias)
            torch.nn.init.normal_(layer.running_mean)
            torch.nn.init.uniform_(layer.running_var, 0.5, 2)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        folded = fold_batch_norms(model.trunk)
        assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded)
        torch.testing.assert_close(folded(x), model.trunk(x), atol=1e-4, rtol=1e-4)


def test_channels_are_blue_green_red() -> None:
    """The graph takes OpenCV's channel order: red in the last channel is what the trunk sees."""
    torch.manual_seed(4)
    model = _small()
    seen = []
    model.trunk[0].register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    picture = torch.zeros((2, 2, 3), dtype=torch.uint8)
    picture[..., 2] = 255
    dense = DenseDeepMask(model, 1)
    dense.model.trunk[0].register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    with torch.no_grad():
        dense([picture], torch.zeros(1))
    inside = seen[-1][0, :, 64, 64]
    spec = model.spec
    expected = [(1 - spec.mean[0]) / spec.std[0], *(-spec.mean[k] / spec.std[k] for k in (1, 2))]
    torch.testing.assert_close(inside, torch.tensor(expected))


def _small() -> DeepMask:
    return MODELS["deepmask_small"]().eval()
