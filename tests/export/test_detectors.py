"""Detectors' files: what is recognized, what is refused, and what the exported graph does.

The networks are a few blocks deep, their weights random: tests/parity compares real depths.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from engine import InstanceCard, ModelError, OptionError, Segmenter
from export import detector_graph, to_onnx, to_trt
from export.checkpoints import torchvision
from export.checkpoints.recognize import read_network
from export.labels import COCO, read_labels
from export.model_file import save_onnx, set_card
from export.models.rcnn.model import Rcnn
from export.precision import label, to_typed


def checkpoint(classes: int = 2, *, masks: bool = True, seed: int = 0) -> dict[str, Tensor]:
    """A state dict with torchvision's names and shapes."""
    generator = torch.Generator().manual_seed(seed)
    made: dict[str, Tensor] = {}

    def layer(name: str, *shape: int, bias: bool = True) -> None:
        fan = int(np.prod(shape[1:]))
        made[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / fan) ** 0.5
        if bias:
            made[f"{name}.bias"] = torch.zeros(shape[0])

    def norm(name: str, count: int) -> None:
        for key, value in (("weight", 0.5), ("bias", 0.0), ("running_mean", 0.0)):
            made[f"{name}.{key}"] = torch.full((count,), value)
        made[f"{name}.running_var"] = torch.ones(count)
        made[f"{name}.num_batches_tracked"] = torch.tensor(3)

    body = "backbone.body"
    layer(f"{body}.conv1", 64, 3, 7, 7, bias=False)
    norm(f"{body}.bn1", 64)
    for s in range(4):
        inner, out, stage = 64 << s, 256 << s, f"{body}.layer{s + 1}.0"
        channels = 64 if s == 0 else out // 2
        for k, shape in enumerate(
            ((inner, channels, 1, 1), (inner, inner, 3, 3), (out, inner, 1, 1)), 1
        ):
            layer(f"{stage}.conv{k}", *shape, bias=False)
            norm(f"{stage}.bn{k}", shape[0])
        layer(f"{stage}.downsample.0", out, channels, 1, 1, bias=False)
        norm(f"{stage}.downsample.1", out)
        layer(f"backbone.fpn.inner_blocks.{s}.0", 256, out, 1, 1)
        layer(f"backbone.fpn.layer_blocks.{s}.0", 256, 256, 3, 3)
    layer("rpn.head.conv.0.0", 256, 256, 3, 3)
    layer("rpn.head.cls_logits", 3, 256, 1, 1)
    layer("rpn.head.bbox_pred", 12, 256, 1, 1)
    layer("roi_heads.box_head.fc6", 1024, 256 * 49)
    layer("roi_heads.box_head.fc7", 1024, 1024)
    layer("roi_heads.box_predictor.cls_score", classes + 1, 1024)
    layer("roi_heads.box_predictor.bbox_pred", 4 * (classes + 1), 1024)
    made["roi_heads.box_predictor.bbox_pred.weight"] *= 0.1
    if masks:
        for k in range(4):
            layer(f"roi_heads.mask_head.{k}.0", 256, 256, 3, 3)
        layer("roi_heads.mask_predictor.conv5_mask", 256, 256, 2, 2)
        layer("roi_heads.mask_predictor.mask_fcn_logits", classes + 1, 256, 1, 1)
    return made


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return checkpoint()


@pytest.fixture(scope="module")
def model(weights: dict[str, Tensor]) -> Rcnn:
    limits = {"smallest_side": 64, "largest_side": 128, "rpn_after": 100}
    return torchvision.load(weights, Path(__file__), **limits)


@pytest.fixture(scope="module")
def small(model: Rcnn, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network as an ONNX file for any size."""
    path = tmp_path_factory.mktemp("detector") / "small.onnx"
    graph = detector_graph.trace(model)
    set_card(graph, detector_graph.make_card(model))
    save_onnx(graph, path)
    return path


def _picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


def test_family_depth_and_classes_are_in_the_keys(tmp_path: Path) -> None:
    """Two classes and 1,200, with masks and without."""
    for classes, masks, name in ((2, True, "maskrcnn"), (1200, False, "fasterrcnn")):
        path = tmp_path / "tuned.pth"
        torch.save(checkpoint(classes, masks=masks), path)
        network = read_network(path)
        assert isinstance(network, Rcnn)
        assert network.spec.name == f"{name}_resnet14_fpn"
        assert network.spec.classes == classes
        names = detector_graph.make_card(network).labels
        assert len(names) == classes
        assert names[0] == "class 1"


@pytest.mark.parametrize("wrapping", ["module.", "model.", "_orig_mod.module."])
def test_training_checkpoints(weights: dict[str, Tensor], wrapping: str, tmp_path: Path) -> None:
    """Optimizer states are left alone, and wrappers' prefixes taken off."""
    wrapped = {f"{wrapping}{key}": value for key, value in weights.items()}
    path = tmp_path / "run.ckpt"
    torch.save({"state_dict": wrapped, "epoch": 3, "optimizer_states": [{"lr": 0.1}]}, path)
    network = read_network(path)
    assert isinstance(network, Rcnn)
    assert network.spec.classes == 2


def test_the_oldest_spelling(weights: dict[str, Tensor], tmp_path: Path) -> None:
    """The published files name some layers otherwise."""
    old = {}
    for key, value in weights.items():
        key = key.replace("rpn.head.conv.0.0", "rpn.head.conv")
        for k in range(4):
            key = key.replace(f"mask_head.{k}.0", f"mask_head.mask_fcn{k + 1}")
            key = key.replace(f"inner_blocks.{k}.0", f"inner_blocks.{k}")
            key = key.replace(f"layer_blocks.{k}.0", f"layer_blocks.{k}")
        old[key] = value
    torch.save(old, tmp_path / "old.pth")
    torch.save(weights, tmp_path / "new.pth")
    first, second = (read_network(tmp_path / name) for name in ("old.pth", "new.pth"))
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key


def test_what_does_not_fit_is_listed(weights: dict[str, Tensor], tmp_path: Path) -> None:
    """Missing, unknown and misshapen keys, by their own names."""
    wrong = dict(weights)
    del wrong["rpn.head.bbox_pred.bias"]
    wrong["roi_heads.box_head.fc6.weight"] = torch.zeros(1024, 7)
    wrong["something.else"] = torch.zeros(3)
    torch.save(wrong, tmp_path / "wrong.pth")
    with pytest.raises(ModelError) as error:
        read_network(tmp_path / "wrong.pth")
    said = str(error.value)
    assert "rpn.head.bbox_pred.bias is missing" in said
    assert "roi_heads.box_head.fc6.weight is (1024, 7) and should give (1024, 12544)" in said
    assert "something.else (3,) is unknown" in said


class _Hostile:
    """Unpickled by a careless reader it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    """A pickle that tries to run code is refused in one sentence, in either format."""
    trap = tmp_path / "trap"
    hostile = {"model": {"a": _Hostile(trap)}, "__author__": "mallory"}
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(hostile, protocol=2))
    torch.save(hostile, tmp_path / "bad.pth")
    for name in ("bad.pkl", "bad.pth"):
        with pytest.raises(ModelError) as error:
            read_network(tmp_path / name)
        assert "\n" not in str(error.value)
        assert not trap.exists()


def test_arrays_cannot_be_made_larger_than_the_file(tmp_path: Path) -> None:
    """A pickle that asks for a huge array gets none."""
    reconstruct = np.zeros(1).__reduce__()[0]

    class Huge:
        def __reduce__(self) -> tuple[object, ...]:
            return reconstruct, (np.ndarray, (1 << 40,), b"b")

    (tmp_path / "huge.pkl").write_bytes(pickle.dumps({"model": {"a": Huge()}}, protocol=2))
    with pytest.raises(ModelError, match="an array of shape"):
        read_network(tmp_path / "huge.pkl")


def _encrypted() -> bytes:
    """A zip whose entry claims to be encrypted."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"x" * 40)
    data = bytearray(file.getvalue())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    return bytes(data)


@pytest.mark.parametrize("suffix", [".pth", ".pkl"])
@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "encrypted", "list"])
def test_damaged_files(kind: str, suffix: str, weights: dict[str, Tensor], tmp_path: Path) -> None:
    """Whatever is wrong with a file, it is one sentence that names it."""
    if suffix == ".pth":
        whole = io.BytesIO()
        torch.save(weights, whole)
        data = whole.getvalue()
    else:
        some = {key: value.numpy() for key, value in list(weights.items())[:9]}
        data = pickle.dumps({"model": some}, protocol=2)
    path = tmp_path / f"file{suffix}"
    path.write_bytes(
        {
            "empty": b"",
            "text": b"these are not weights",
            "truncated": data[: len(data) // 2],
            "encrypted": _encrypted(),
            "list": pickle.dumps([1, 2], protocol=2),
        }[kind]
    )
    with pytest.raises(ModelError) as error:
        read_network(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_other_networks_and_names(weights: dict[str, Tensor], tmp_path: Path) -> None:
    """Keys of no network, and a name that the file does not bear out."""
    torch.save({"encoder.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="holds no network that MaskRT knows"):
        read_network(tmp_path / "other.pth")
    torch.save(weights, tmp_path / "mask.pth")
    with pytest.raises(OptionError, match="holds a maskrcnn_resnet14_fpn and not a fasterrcnn"):
        read_network(tmp_path / "mask.pth", "fasterrcnn_resnet50_fpn")


def test_one_file_takes_every_size(small: Path) -> None:
    """Three pictures of different sizes and shapes, one session."""
    with Segmenter(small) as segmenter:
        for height, width in ((90, 120), (200, 40), (33, 301)):
            found = segmenter(_picture(height, width))
            assert found.size == (height, width)
            assert found.masks.shape == (len(found), height, width)
            assert (found.boxes >= 0).all()
            assert (found.boxes[:, 2] <= width).all()


def test_a_batch_is_its_pictures(small: Path) -> None:
    """Each picture of a batch gives what it gives alone."""
    pictures = [_picture(80, 100), _picture(60, 60)]
    with Segmenter(small) as segmenter:
        for found, picture in zip(segmenter.batch(pictures), pictures, strict=True):
            np.testing.assert_array_equal(found.boxes, segmenter(picture).boxes)


def test_labels_and_options(small: Path) -> None:
    """A detector has its own options, and refuses a DeepMask's."""
    with Segmenter(small) as segmenter:
        assert segmenter.labels == ["class 1", "class 2"]
        assert isinstance(segmenter.card, InstanceCard)
        found = segmenter(_picture(80, 100), top=3)
        assert len(found) <= 3
        with pytest.raises(OptionError, match="scales"):
            segmenter(_picture(80, 100), scales=[1.0])


def test_no_detection_is_as_good_as_any(model: Rcnn, tmp_path: Path) -> None:
    """A threshold that nothing reaches: empty results of the right shapes, no failure."""
    spec = replace(model.spec, score_threshold=0.999999)
    empty = Rcnn(spec).eval()
    empty.load_state_dict(model.state_dict())
    graph = detector_graph.trace(empty)
    set_card(graph, detector_graph.make_card(empty))
    save_onnx(graph, tmp_path / "empty.onnx")
    with Segmenter(tmp_path / "empty.onnx") as segmenter:
        found = segmenter(_picture(90, 120))
    assert len(found) == 0
    assert found.masks.shape == (0, 90, 120)
    assert found.rle() == []
    assert found.to_coco() == []


def test_fp16_is_where_the_work_is(small: Path) -> None:
    """Convolutions, matrices and regions in fp16; boxes, ranking and probabilities in fp32."""
    graph = onnx.load(small)
    _, report = to_typed(graph)
    kinds = {node.op_type for node in graph.graph.node if label(node) in report.islands}
    assert {"BatchedNms", "Softmax", "Exp", "TopK", "Sigmoid"} <= kinds
    assert not kinds & {"Conv", "Gemm", "MatMul", "PyramidRoiAlign"}


def test_tensorrt_rtx_builds_it(small: Path, tmp_path: Path) -> None:
    """The whole graph, sizes open, without a GPU; its card says what it is."""
    pytest.importorskip("tensorrt_rtx", reason="no TensorRT for RTX on this platform")
    output = tmp_path / "small.engine"
    to_trt.main(small, output, precision=to_trt.Precision.fp32, operators=to_trt.Operators.bodies)
    card = json.loads((tmp_path / "small.engine.json").read_text())
    assert card["runtime"]["operators"] == "bodies"
    assert output.stat().st_size > 1e6


def test_to_onnx_from_end_to_end(weights: dict[str, Tensor], tmp_path: Path) -> None:
    """The command: labels, limits and a fixed size are in the card; options of others refused."""
    torch.save(weights, tmp_path / "tuned.pth")
    (tmp_path / "labels.txt").write_text("bolt\nnut\n")
    output = tmp_path / "tuned.onnx"
    to_onnx.main(
        output, weights=tmp_path / "tuned.pth", size="128x192", max_detections=7,
        score_threshold=0.3, labels=tmp_path / "labels.txt",
    )  # fmt: skip
    with Segmenter(output) as segmenter:
        card = segmenter.card
        assert isinstance(card, InstanceCard)
        assert (card.labels, card.canvas, card.top) == (["bolt", "nut"], [128, 192], 7)
        found = segmenter(_picture(90, 120))
        assert (found.scores >= 0.3).all()
        assert len(found) <= 7
    for options, says in (
        ({"proposals": 5}, "--proposals means nothing"),
        ({"size": "100x100"}, "multiples of 32"),
        ({"size": "large"}, "height x width"),
        ({"max_detections": 0}, "--max-detections"),
    ):
        with pytest.raises(OptionError, match=says):
            to_onnx.main(output, weights=tmp_path / "tuned.pth", **options)


def test_labels_from_files(tmp_path: Path) -> None:
    """One a line, a JSON list, or the categories of COCO annotations."""
    (tmp_path / "a.txt").write_text("cat\n\ndog\n")
    (tmp_path / "b.json").write_text('["cat", "dog"]')
    categories = [{"id": 9, "name": "dog"}, {"id": 4, "name": "cat"}]
    (tmp_path / "c.json").write_text(json.dumps({"categories": categories}))
    assert read_labels(tmp_path / "a.txt", 2) == (["cat", "dog"], [1, 2])
    assert read_labels(tmp_path / "b.json", 2) == (["cat", "dog"], [1, 2])
    assert read_labels(tmp_path / "c.json", 2) == (["cat", "dog"], [4, 9])
    with pytest.raises(OptionError, match="has 2 names and the network 3 classes"):
        read_labels(tmp_path / "a.txt", 3)
    (tmp_path / "d.json").write_text("{}")
    with pytest.raises(OptionError, match="neither a list"):
        read_labels(tmp_path / "d.json", 2)
    assert len(COCO) == 80
