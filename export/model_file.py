"""An exported model as a file: its card is in the metadata. Needs onnx alone."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from engine.card import KEY, Card
from engine.errors import ModelError
from engine.files import write_aside


def set_card(proto: onnx.ModelProto, card: Card) -> None:
    """Write the card into the model's metadata, in the place of any it had."""
    kept = [(p.key, p.value) for p in proto.metadata_props if p.key != KEY]
    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, dict(kept) | {KEY: card.to_json()})


def read_onnx(path: Path) -> tuple[onnx.ModelProto, Card]:
    """An exported model and its card.

    Raises:
        ModelError: no such file, not ONNX, or without a card.
    """
    if not path.is_file():
        raise ModelError(f"the model {path} does not exist; give the path of an .onnx file")
    try:
        proto = onnx.load_from_string(path.read_bytes())
        onnx.checker.check_model(proto)
    except (DecodeError, onnx.checker.ValidationError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise ModelError(
            f"{path} is not an ONNX model ({reason}); export one with python export/to_onnx.py"
        ) from error
    for entry in proto.metadata_props:
        if entry.key == KEY:
            return proto, Card.from_json(entry.value, path)
    raise ModelError(f"{path} has no MaskRT card; export the model with python export/to_onnx.py")


def save_onnx(proto: onnx.ModelProto, output: Path) -> None:
    """Write the model to one file, aside first.

    Protocol buffers end at 2 GiB; the largest DeepMask (Full) has 1.3 GB of weights.
    """
    with write_aside(output) as aside:
        aside.write_bytes(proto.SerializeToString())
