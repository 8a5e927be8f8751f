"""The forms of benchmarks/peers.py find the same objects, so that their times can be compared."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmarks.harness.answers import compared
from benchmarks.peer_forms import forms
from benchmarks.peer_networks import network
from benchmarks.peers import NAME, read, scene, wanted
from engine import OptionError, PictureError

SMALL = {"min_size": 128, "max_size": 192}


def test_exports_find_what_torchvision_finds(tmp_path: Path) -> None:
    """In fp32, in pictures of two sizes, whole and cut; masks are of the picture's size."""
    pictures = [scene(), np.ascontiguousarray(scene()[:300, 100:500])]
    with torch.inference_mode():
        every = list(forms(network(NAME, pictures, **SMALL), pictures, tmp_path))
        # The first, and of its two exports each on one runtime.
        words = "last", "its export, onnxruntime", "paste, OpenVINO f32"
        chosen = [one for one in every if one.name.endswith(words)]
        assert len(chosen) == 3
        expected = None
        for form in chosen:
            opened = form.open()
            raw = [opened.call(k) for k in range(2)]
            found = [opened.found(one) for one in raw]
            expected = expected or found
            same = compared(expected, found)
            assert same["objects"] > 10
            assert same["found_again"] >= 0.98 * same["objects"], form.name
            for one, picture in zip(raw, pictures, strict=True):
                masks = one["masks"] if isinstance(one, dict) else one[3]
                assert masks.shape[-2:] == picture.shape[:2], form.name


def test_rows_are_chosen_by_words(tmp_path: Path) -> None:
    """Any of them; a word that is in no name is refused with the names."""
    every = list(forms(torch.nn.Identity(), [scene()], tmp_path))
    assert len({form.name for form in every}) == len(every) == 12
    assert [form.name for form in wanted(every, "compile, MaskRT")] == [
        "torchvision, torch.compile", "MaskRT, onnxruntime", "MaskRT, OpenVINO f32",
        "MaskRT, OpenVINO bf16",
    ]  # fmt: skip
    with pytest.raises(OptionError, match="--only is 'tensorflow'"):
        wanted(every, "tensorflow")


def test_pictures_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    """Told, and refused only if there is no other."""
    cv2.imwrite(str(tmp_path / "a.png"), scene())
    (tmp_path / "b.png").write_bytes(b"junk")
    pictures, left_out = read(str(tmp_path))
    assert list(pictures) == ["a.png"]
    assert len(left_out) == 1
    assert "b.png is not a picture" in left_out[0]
    with pytest.raises(PictureError, match="none of 1 pictures can be read"):
        read(str(tmp_path / "b.png"))
    with pytest.raises(OptionError, match="does not exist"):
        read(str(tmp_path / "nowhere"))
