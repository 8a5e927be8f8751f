"""What does not fit is said in one sentence with what mends it, before anything is loaded."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from networks import card as make_card

from engine import BackendError, Card, ModelError, OptionError, Segmenter
from engine.backends import open_backend
from engine.backends.bundle import choose
from engine.backends.trt import read_card, read_plan
from engine.machine import Machine, misfits, this_machine, this_platform

ORIN = Machine("linux aarch64", {"tensorrt": "10.3.0"}, "Orin", "8.7")
A10 = Machine("linux x86_64", {"tensorrt": "10.16.1.11", "tensorrt-rtx": "1.7.1.116"}, "A10", "8.6")
H200 = replace(A10, gpu="H200", capability="9.0")
CPU = Machine("linux x86_64")
LEAN = replace(A10, tensorrt={"tensorrt-lean": "11.4.0.106"})
MACHINES = [ORIN, A10, H200, CPU]
RUNTIME = {
    "flavour": "tensorrt", "version": "10.16.1.11", "platform": "linux x86_64",
    "compute_capability": "8.6", "hardware_compatibility": "none", "version_compatible": "no",
    "plugins": "", "source": "m.onnx",
}  # fmt: skip


def write(path: Path, data: bytes = b"plan", **changes: str) -> Card:
    """A plan of some bytes and its card."""
    told = {k: v for k, v in changes.items() if k != "precision"}
    card = make_card(
        precision=changes.get("precision", "fp16"), runtime=RUNTIME | told,
        plan_sha256=hashlib.sha256(data).hexdigest(),
    )  # fmt: skip
    path.write_bytes(data)
    Path(f"{path}.json").write_text(card.to_json())
    return card


@pytest.mark.parametrize(
    ("changes", "machine", "says"),
    [
        ({}, A10, None),
        ({}, H200, "8.6 and this H200 has 9.0; build it here: maskrt build m.onnx --output"),
        ({}, CPU, "of compute capability 8.6, and none can be used here (there is none); run m"),
        ({}, ORIN, "was built for linux x86_64 and this is linux aarch64; build it here"),
        ({"hardware_compatibility": "ampere+"}, H200, None),
        ({"hardware_compatibility": "ampere+"}, replace(A10, capability="7.5"), "8.0 or more"),
        ({"hardware_compatibility": "same"}, A10, None),
        ({"hardware_compatibility": "same"}, H200, "compute capability 8.6"),
        ({"version": "10.13.0"}, A10, "built by TensorRT 10.13.0 and here is 10.16.1.11, which do"),
        ({"version": "10.13.0", "version_compatible": "yes"}, A10, None),
        ({"version": "11.0.0", "version_compatible": "yes"}, A10, "which does not run it"),
        ({"version": "10.16.1.2"}, A10, None),
        ({"flavour": "tensorrt-rtx", "version": "1.7.1.116",
          "compute_capability": "8.0 8.6 8.9"}, A10, None),
        ({"flavour": "tensorrt-rtx", "version": "1.6.0"}, A10, "built by TensorRT-RTX 1.6.0"),
        ({"flavour": "tensorrt-rtx"}, ORIN, "needs TensorRT-RTX 10.16.1.11, which is not"),
        ({"plugins": "BatchedNms 1"}, A10, "needs the plugins BatchedNms 1 and there is no libmas"),
        ({"plugins": "BatchedNms 1", "version_compatible": "yes"}, A10, None),
        ({"stripped": "w.onnx"}, A10, "has no weights of its own and w.onnx is not beside it"),
        ({}, LEAN, "needs TensorRT 10.16.1.11, which is not installed"),
        ({"version_compatible": "yes"}, LEAN, None),
        ({"version_compatible": "yes", "stripped": "m.engine"}, LEAN, "which is not installed"),
        ({"flavour": "tensorrt-rtx", "version": "1.7.1", "min": "32x32", "precision": "bf16"},
         H200, "--backend rtx --precision bf16 --min 32x32 --target 9.0"),
    ],
)  # fmt: skip
def test_what_does_not_fit(
    tmp_path: Path, changes: dict[str, str], machine: Machine, says: str | None
) -> None:
    """Each mismatch has a sentence of its own; what fits has none."""
    plan = tmp_path / "m.engine"
    card = write(plan, **changes)
    reasons = misfits(plan, card, machine)
    if says is None:
        assert reasons == []
    else:
        assert any(says in reason for reason in reasons), reasons
        assert all("\n" not in reason for reason in reasons)
        assert all(str(plan) in reason for reason in reasons)


def test_plugins_beside_the_plan_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is found beside the plan, or where MASKRT_PLUGINS says."""
    card = write(tmp_path / "m.engine", plugins="BatchedNms 1")
    assert misfits(tmp_path / "m.engine", card, A10)
    other = tmp_path / "elsewhere.so"
    other.touch()
    monkeypatch.setenv("MASKRT_PLUGINS", str(other))
    assert not misfits(tmp_path / "m.engine", card, A10)
    monkeypatch.delenv("MASKRT_PLUGINS")
    (tmp_path / "libmaskrt_plugins.so").touch()
    assert not misfits(tmp_path / "m.engine", card, A10)


def test_a_damaged_or_foreign_plan(tmp_path: Path) -> None:
    """A byte that changed, a card that is missing, and one of an ONNX file are told apart."""
    plan = tmp_path / "m.engine"
    card = write(plan)
    assert read_plan(plan, read_card(plan)) == b"plan"
    plan.write_bytes(b"plaN")
    with pytest.raises(ModelError, match="is not the plan that its card"):
        read_plan(plan, card)
    Path(f"{plan}.json").write_text(make_card().to_json())
    with pytest.raises(ModelError, match="is not of a plan"):
        read_card(plan)
    Path(f"{plan}.json").unlink()
    with pytest.raises(ModelError, match="plan without a card"):
        read_card(plan)


def test_the_best_of_a_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The plan for this very GPU, then any that fits, then the ONNX file with the reason logged."""
    write(tmp_path / "orin.engine", platform="linux aarch64", version="10.3.0",
          compute_capability="8.7")  # fmt: skip
    write(tmp_path / "a10_fp32.engine", precision="fp32")
    write(tmp_path / "a10.engine")
    write(tmp_path / "any.engine", hardware_compatibility="ampere+")
    write(tmp_path / ".half-written.engine", version="0")
    (tmp_path / "m.onnx").touch()
    (tmp_path / "README.md").touch()
    names = [choose(tmp_path, machine).name for machine in MACHINES]
    assert names == ["orin.engine", "a10.engine", "any.engine", "m.onnx"]
    with caplog.at_level(logging.WARNING):
        assert choose(tmp_path, CPU).name == "m.onnx"
    assert "m.onnx is run instead of a plan: no NVIDIA GPU can be used here" in caplog.text
    assert choose(tmp_path, A10, plans_too=False).name == "m.onnx"
    (tmp_path / "m.onnx").unlink()
    with pytest.raises(BackendError, match=r"no plan in .* fits, and it has no \.onnx file"):
        choose(tmp_path, CPU)


def test_folders_that_are_no_model(tmp_path: Path) -> None:
    """Nothing in it, or several models."""
    with pytest.raises(ModelError, match="has neither a plan nor"):
        choose(tmp_path, A10)
    (tmp_path / "a.onnx").touch()
    (tmp_path / "b.onnx").touch()
    with pytest.raises(ModelError, match="has several models"):
        choose(tmp_path, A10)


def test_what_is_wrong_in_a_folder_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A plan without a card, and an ONNX file that the plans are not of, are logged."""
    (tmp_path / "lost.engine").write_bytes(b"plan")
    write(tmp_path / "other.engine", platform="plan9 mips", source_sha256="0")
    (tmp_path / "m.onnx").touch()
    with caplog.at_level(logging.WARNING):
        assert choose(tmp_path, A10).name == "m.onnx"
    assert "lost.engine is a plan without a card" in caplog.text
    assert "m.onnx is not the file that the plans were built from" in caplog.text


def test_a_folder_is_a_model(exported: Path, tmp_path: Path) -> None:
    """`Segmenter(folder)` runs the ONNX file where no plan fits, and where the options want it."""
    (tmp_path / "m.onnx").write_bytes(exported.read_bytes())
    write(tmp_path / "m.engine", platform="plan9 mips")
    for options in ({}, {"device": "cpu"}, {"threads": 1}, {"backend": "onnxruntime"}):
        with Segmenter(tmp_path, **options) as segmenter:
            assert segmenter.backend.name == "onnxruntime cpu"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"device": "cpu"}, "runs on a GPU"),
        ({"threads": 2}, "runs on a GPU"),
        ({"backend": "onnxruntime"}, "backend is 'onnxruntime', and .* is for tensorrt"),
        ({"precision": "bf16"}, "tensorrt computes in the file's own"),
        ({"device": "cuda:x"}, "there is no device 'cuda:x'"),
        ({"device": "tpu"}, "there is no device 'tpu'"),
    ],
)
def test_options_that_do_not_go_with_a_plan(tmp_path: Path, options: dict, says: str) -> None:
    """They are refused by name, not left out."""
    write(tmp_path / "m.engine")
    with pytest.raises(OptionError, match=says):
        open_backend(tmp_path / "m.engine", **options)


def test_onnx_is_not_for_tensorrt(exported: Path) -> None:
    """A backend that is named is never another one."""
    with pytest.raises(OptionError, match=r"backend is 'tensorrt', and .* onnxruntime or openvino"):
        open_backend(exported, "tensorrt")


def test_this_machine() -> None:
    """It is asked without a GPU, and says what is installed."""
    machine = this_machine()
    assert machine.platform == this_platform()
    assert bool(machine.gpu) == bool(machine.capability)
    pytest.importorskip("tensorrt_rtx", reason="no TensorRT for RTX on this platform")
    assert machine.tensorrt["tensorrt-rtx"].startswith("1.")


@pytest.mark.skipif(bool(this_machine().gpu), reason="there is a GPU: the plan would be loaded")
def test_without_a_gpu_a_plan_is_one_sentence(tmp_path: Path) -> None:
    """All reasons at once, and no import of TensorRT."""
    write(tmp_path / "m.engine", platform=this_platform())
    with pytest.raises(BackendError, match="needs an NVIDIA GPU of compute capability") as error:
        Segmenter(tmp_path / "m.engine")
    assert "\n" not in str(error.value)
