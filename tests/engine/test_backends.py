"""Opening models: what is none, has no card or a damaged one is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from engine import BackendError, Card, ModelError, OptionError, Segmenter
from engine.backends import open_backend
from engine.card import KEY

MakeCard = Callable[..., Card]


def _onnx(path: Path, card: str | None) -> Path:
    """A graph that is not one of ours, with or without a card."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    if card is not None:
        helper.set_model_props(model, {KEY: card})
    onnx.save(model, path)
    return path


def test_files_that_are_no_models(tmp_path: Path) -> None:
    """No file, a folder, other bytes, and a plan are one sentence each."""
    (tmp_path / "text.onnx").write_text("not a model")
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "x.engine").write_bytes(b"vtrt")
    for name, says in (
        ("none.onnx", "does not exist"),
        ("", "is not an ONNX model|has several models"),
        ("text.onnx", "is not an ONNX model"),
        ("empty.onnx", "is not an ONNX model|has no MaskRT card"),
        ("x.engine", "is a plan without a card"),
    ):
        with pytest.raises(ModelError, match=says):
            Segmenter(tmp_path / name)


def test_models_without_a_right_card(tmp_path: Path, make_card: MakeCard) -> None:
    """No card, a damaged one, and a card on a foreign graph are told apart."""
    for card, says in (
        (None, "has no MaskRT card"),
        ("{", "card in .* is damaged: it is not JSON"),
        ("[]", "damaged"),
        (make_card().to_json().replace('"patch": 64', '"patch": "64"'), "patch is '64'"),
        (make_card().to_json(), "its graph is not a MaskRT one"),
    ):
        with pytest.raises(ModelError, match=says) as error:
            Segmenter(_onnx(tmp_path / "x.onnx", card))
        assert "\n" not in str(error.value)


def test_options_of_opening(exported: Path) -> None:
    """Unknown backends and devices and a thread count of 0 are refused by name."""
    for options, says in (
        ({"backend": "tflite"}, "no backend 'tflite'"),
        ({"device": "tpu"}, "no device 'tpu'"),
        ({"threads": 0}, "threads is 0"),
        ({"threads": 10**20}, "give 1 to 1024"),
    ):
        with pytest.raises(OptionError, match=says):
            Segmenter(exported, **options)


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="this onnxruntime has a CUDA provider",
)
def test_a_device_that_is_not_there_is_no_other_device(exported: Path) -> None:
    """Asked for a GPU without one, the answer is an error and never the CPU."""
    with pytest.raises(BackendError, match="no cuda provider"):
        Segmenter(exported, device="cuda")


def test_onnxruntime_is_needed_only_to_open_a_model(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is not installed, the sentence says what to install."""
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendError, match="pip install onnxruntime"):
        Segmenter(exported)


def test_a_failing_run_is_a_backend_error(exported: Path) -> None:
    """What onnxruntime throws comes out as one sentence of ours, with the shapes."""
    backend = open_backend(exported)
    assert backend.name == "onnxruntime cpu"
    with pytest.raises(BackendError, match=r"picture uint8 \[4, 4\]"):
        backend.run({"picture": np.zeros((4, 4), np.uint8)})
    backend.close()
    with pytest.raises(BackendError, match="closed"):
        backend.run({})
