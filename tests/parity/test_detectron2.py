"""Detectors against detectron2's rules, over state dicts with its names and shapes."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from detectron2_rules import Config, Weights, detect, state_dict
from pictures import pictures, tight

from engine import Instances, Segmenter
from engine.agreement import agreement
from export import detector_graph
from export.checkpoints.recognize import read_network
from export.model_file import save_onnx, set_card
from export.models.rcnn.model import Rcnn

CONFIGS = {
    "R14-FPN": Config(blocks=(1, 1, 1, 1)),
    "R14-FPN, one mask for all classes": Config(blocks=(1, 1, 1, 1), masks=1),
    "R17-FPN, boxes alone": Config(blocks=(1, 1, 2, 1), masks=0),
    "R17-C4": Config(blocks=(1, 2, 1, 1), fpn=False),
    "X14-32x8d-FPN": Config(blocks=(1, 1, 1, 1), groups=32, classes=3, masks=3),
    "R14-FPN, keypoints": Config(blocks=(1, 1, 1, 1), classes=1, masks=0, keypoints=17),
}


def _write_pickle(weights: Weights, path: Path) -> None:
    """As the zoo's files are: arrays in a pickle of protocol 2."""
    arrays = {key: value.numpy() for key, value in weights.items()}
    content = {"model": arrays, "__author__": "somebody"}
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_same_answer(name: str, tmp_path: Path) -> None:
    """From a zoo-like .pkl to full-resolution masks and keypoints."""
    config = CONFIGS[name]
    weights = state_dict(config)
    _write_pickle(weights, tmp_path / "model.pkl")
    ours = read_network(tmp_path / "model.pkl")
    assert isinstance(ours, Rcnn)
    graph = detector_graph.trace(ours)
    set_card(graph, detector_graph.make_card(ours))
    save_onnx(graph, tmp_path / "model.onnx")
    with Segmenter(tmp_path / "model.onnx") as segmenter:
        for picture in pictures()[:2]:
            said = {key: value.numpy() for key, value in detect(weights, config, picture).items()}
            found = segmenter(picture)
            count = len(said["scores"])
            expected = Instances(
                size=picture.shape[:2],
                boxes=said["boxes"],
                scores=said["scores"],
                labels=said["classes"],
                names=[],
                mask_values=np.zeros((count, 0, 0), np.float32),
                mask_boxes=said["boxes"],
                keypoints=said.get("keypoints", np.zeros((0, 0, 3), np.float32)),
            )
            masks = [tight(mask) for mask in said.get("masks", ())]
            crops = (masks, found.crops()) if config.masks else None
            same = agreement(expected, found, crops=crops)
            assert same.expected > 20
            assert same.matched >= 0.98
            assert np.percentile(same.boxes, 99) <= 0.05
            assert same.scores.max() <= 0.002
            if config.masks:
                large = same.areas > 100  # of a few pixels, one is a large share
                assert same.masks.mean() >= 0.99
                assert same.masks[large].min(initial=1) >= 0.9
            if config.keypoints:
                assert np.percentile(same.keypoints, 99) <= 0.05
                score = expected.keypoints[same.pairs[:, 0], :, 2]
                np.testing.assert_allclose(
                    found.keypoints[same.pairs[:, 1], :, 2], score, atol=1e-3
                )
