"""Detectors against torchvision: its checkpoint through our export, picture by picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from pictures import LIMITS, SIDES, pictures, tight
from torch import nn

from benchmarks.peer_networks import NETWORKS, network, to_tensor
from engine import Instances, Segmenter
from engine.agreement import Agreement, agreement
from engine.paste import Crop
from export import detector_graph
from export.checkpoints.recognize import read_network
from export.detector_parity import compare_detections, torch_segmenter
from export.model_file import save_onnx, set_card
from export.models.rcnn.model import Rcnn
from export.precision import to_typed

PICTURES = pictures()


@pytest.fixture(scope="module", params=NETWORKS)
def peer(request: pytest.FixtureRequest) -> nn.Module:
    """A torchvision network; `name` is one of NETWORKS."""
    torch.manual_seed(0)
    spread_on = PICTURES[:1] if SIDES else [PICTURES[k] for k in (0, 5, 8)]
    model = network(request.param, spread_on, **SIDES)
    model.name = request.param
    return model


@pytest.fixture(scope="module")
def exported(peer: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network, read from its checkpoint and exported."""
    folder = tmp_path_factory.mktemp(peer.name)
    checkpoint = folder / "checkpoint.pth"
    torch.save({"model": peer.state_dict(), "epoch": 26}, checkpoint)
    ours = read_network(checkpoint, peer.name, **LIMITS)
    assert isinstance(ours, Rcnn)
    graph = detector_graph.trace(ours)
    set_card(graph, detector_graph.make_card(ours))
    save_onnx(graph, folder / "model.onnx")
    return folder / "model.onnx"


@pytest.fixture(scope="module")
def answers(peer: nn.Module) -> list[tuple[Instances, list[Crop]]]:
    """What torchvision says of each picture, and its full-resolution masks."""
    found = []
    for picture in PICTURES:
        with torch.inference_mode():
            said = {key: value.numpy() for key, value in peer([to_tensor(picture)])[0].items()}
        count = len(said["scores"])
        points = np.zeros((count, 0, 3), np.float32)
        if "keypoints" in said:
            scores = said["keypoints_scores"][..., None]
            points = np.concatenate([said["keypoints"][..., :2], scores], 2)
        instances = Instances(
            size=picture.shape[:2],
            boxes=said["boxes"],
            scores=said["scores"],
            labels=said["labels"] - 1,  # the background is torchvision's class 0
            names=[],
            mask_values=np.zeros((count, 0, 0), np.float32),
            mask_boxes=said["boxes"],
            keypoints=points,
        )
        masks = said.get("masks", np.zeros((0, 1, 1, 1)))
        found.append((instances, [tight(mask[0] > 0.5) for mask in masks]))
    return found


def _agreements(
    model: Path, answers: list[tuple[Instances, list[Crop]]], least: float = 0.0, iou: float = 0.9
) -> Iterator[tuple[Instances, Instances, Agreement]]:
    with Segmenter(model) as segmenter:
        for picture, (expected, masks) in zip(PICTURES, answers, strict=True):
            found = segmenter(picture)
            crops = (masks, found.crops()) if found.has_masks else None
            if least:
                expected = expected[expected.scores > least]  # the rest stays, to be matched
                crops = None
            yield expected, found, agreement(expected, found, crops=crops, iou=iou)


def test_the_same_answer(exported: Path, answers: list[tuple[Instances, list[Crop]]]) -> None:
    """Detections, boxes, scores, masks and keypoints, picture by picture."""
    total = shared = 0
    boxes, masks, areas, points = [], [], [], []
    for expected, _, same in _agreements(exported, answers):
        assert len(expected) >= 5, "too few detections to compare anything"
        total += max(same.expected, same.found)
        shared += len(same.pairs)
        boxes.append(same.boxes)
        masks.append(same.masks)
        areas.append(same.areas)
        points.append(same.keypoints.ravel())
        assert same.scores.max() <= 0.002
        for (i, j), later in zip(same.pairs, same.pairs[1:], strict=False):
            if j > later[1]:
                assert abs(expected.scores[i] - expected.scores[later[0]]) <= 0.001
    print(
        f"{shared} of {total} detections, boxes {np.percentile(np.concatenate(boxes), 99):.4f} px"
    )
    assert shared / total >= 0.995
    assert np.percentile(np.concatenate(boxes), 99) <= 0.05
    ious, pixels = np.concatenate(masks), np.concatenate(areas)
    if len(ious):
        print(f"masks: mean IoU {ious.mean():.5f}, least {ious[pixels > 100].min():.4f}")
        assert ious.mean() >= 0.999
        # torchvision cuts a mask's corners to whole pixels: where one lies on a pixel's edge, the
        # last digit decides, which differs from processor to processor.
        assert (ious[pixels > 100] < 0.97).sum() <= (1 if SIDES else 0)
    if len(np.concatenate(points)):
        print(f"keypoints: 99 % within {np.percentile(np.concatenate(points), 99):.4f} px")
        assert np.percentile(np.concatenate(points), 99) <= 0.05


def test_fp16(exported: Path, answers: list[tuple[Instances, list[Crop]]], tmp_path: Path) -> None:
    """The typed graph keeps 98 % of what scores above 0.5."""
    half, _ = to_typed(onnx.load(exported))
    save_onnx(half, tmp_path / "half.onnx")
    total = shared = 0
    for _, _, same in _agreements(tmp_path / "half.onnx", answers, least=0.5, iou=0.95):
        total += same.expected
        shared += len(same.pairs)
    print(f"{shared} of {total} detections above 0.5")
    assert total >= 20
    # Small pictures have small boxes: an IoU of 0.95 is half a pixel there.
    assert shared / total >= (0.9 if SIDES else 0.98)


def test_a_fixed_canvas(peer: nn.Module, tmp_path: Path) -> None:
    """With the input's size fixed, pictures come in resized: the graph is PyTorch's answer too."""
    if peer.name != "maskrcnn_resnet50_fpn":
        pytest.skip("one network is enough: the graph's beginning is the same in all of them")
    torch.save(peer.state_dict(), tmp_path / "checkpoint.pth")
    ours = read_network(tmp_path / "checkpoint.pth", **LIMITS)
    assert isinstance(ours, Rcnn)
    canvas = (512, 512) if SIDES else (1344, 1344)
    card = detector_graph.make_card(ours, canvas=canvas)
    graph = detector_graph.trace(ours, canvas)
    set_card(graph, card)
    save_onnx(graph, tmp_path / "fixed.onnx")
    with Segmenter(tmp_path / "fixed.onnx") as fixed:
        for picture in PICTURES[:2]:
            same = compare_detections(torch_segmenter(ours, card), fixed, picture).found
            assert same.expected >= 5
            assert same.matched >= 0.99
            assert same.scores.max() <= 0.002
            assert same.masks.mean() >= 0.999
