"""Plans built for real by TensorRT for RTX on the CPU; running them needs a GPU."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from rich.progress import Progress

from engine.card import Card
from engine.errors import BackendError, ModelError, OptionError, OutputError
from export import builder, detector_graph, to_trt
from export.audit import heavy_types
from export.build_options import BuildOptions, Profile, apply_options, check_version, load_builder
from export.builder_messages import readable
from export.graph import trace
from export.model_file import read_onnx, save_onnx, set_card
from export.models.deepmask import MODELS
from export.models.dense import DenseDeepMask
from export.models.rcnn.model import Rcnn
from export.models.rcnn.spec import TORCHVISION, RcnnSpec
from export.precision import to_typed
from export.profiles import make_profile
from export.tensorrt_graph import for_tensorrt
from plugins import library

trt = pytest.importorskip("tensorrt_rtx", reason="no TensorRT for RTX on this platform")

ROOT = Path(__file__).resolve().parents[2]
ANY = Profile((1, 1), (480, 640), (1024, 1024))
NAMES = {"fp32": "FLOAT", "fp16": "HALF", "bf16": "BF16"}


def build(graph: onnx.ModelProto, profile: Profile = ANY, precision: str = "fp32", **more: object):
    with Progress(disable=True) as progress:
        return builder.build(graph, profile, progress, precision=precision, **more)


@pytest.fixture(scope="module")
def graph(exported: Path) -> onnx.ModelProto:
    return read_onnx(exported)[0]


@pytest.fixture(scope="module")
def typed(graph: onnx.ModelProto) -> onnx.ModelProto:
    return for_tensorrt(to_typed(graph)[0], with_plugins=False)


def test_a_plan_and_its_card_are_written(exported: Path, tmp_path: Path) -> None:
    """The plan is TensorRT's own format; the card beside it says what runs it, and its islands."""
    output = tmp_path / "small.engine"
    to_trt.main(exported, output=output, backend=to_trt.Target.rtx)
    data = output.read_bytes()
    assert data[:4] == b"vtrt"
    assert struct.unpack("<Q", data[16:24])[0] == len(data)
    card = Card.from_json((tmp_path / "small.engine.json").read_text(), "card")
    assert card.precision == "fp16"
    assert "node_sigmoid" in card.islands
    assert card.plan_sha256 == hashlib.sha256(data).hexdigest()
    assert card.runtime["flavour"] == "tensorrt-rtx"
    assert card.runtime["version"] == trt.__version__
    assert "8.6" in card.runtime["compute_capability"].split()
    assert card.runtime["max"] == "2048x2048"
    assert card.runtime["source"] == exported.name
    assert sorted(p.name for p in tmp_path.iterdir()) == ["small.engine", "small.engine.json"]


def test_low_precision_makes_the_plan_smaller(exported: Path, tmp_path: Path) -> None:
    """An fp32 plan is nearly twice as large: the types in the graph are what is built."""
    for precision in ("fp16", "bf16", "fp32"):
        to_trt.main(
            exported, output=tmp_path / precision, precision=to_trt.Precision(precision),
            backend=to_trt.Target.rtx,
        )  # fmt: skip
    size = {name: (tmp_path / name).stat().st_size for name in NAMES}
    assert size["fp32"] > 1.6 * size["fp16"]
    assert size["fp32"] > 1.4 * size["bf16"]
    assert json.loads((tmp_path / "bf16.json").read_text())["precision"] == "bf16"


@pytest.mark.slow
@pytest.mark.parametrize("corner", [(1, 1), (1, 2048), (480, 640), (2048, 2048)])
def test_every_corner_of_the_profile_builds(
    typed: onnx.ModelProto, corner: tuple[int, int]
) -> None:
    """The builder checks shapes at the usual size only, so each corner is built as that."""
    assert len(build(typed, Profile(corner, corner, corner), "fp16").data) > 1e6


@lru_cache(maxsize=4)
def _deepmask(name: str) -> tuple[onnx.ModelProto, int]:
    """A published net's graph, and how many weights it has."""
    model = MODELS[name]()
    weights = sum(p.numel() for p in model.parameters())
    return trace(DenseDeepMask(model, 500)), weights


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "precision"),
    # DeepMaskZoom is the first one again, with another pyramid in its card; in fp32 that takes as
    # long as all others and has nothing that the second one has not.
    [("deepmask_resnet50", one) for one in NAMES]
    + [("deepmask_vgg", one) for one in NAMES if one != "fp32"],
)
def test_the_published_nets_build(name: str, precision: str) -> None:
    """The 2016 and the 2015 nets, of any size and of one."""
    graph, weights = _deepmask(name)
    if precision != "fp32":
        graph = to_typed(graph, precision)[0]
    each = 4 if precision == "fp32" else 2
    for profile in (ANY, Profile(*[(480, 640)] * 3)):
        plan = build(for_tensorrt(graph, with_plugins=False), profile, precision)
        assert each * weights < len(plan.data) < 1.2 * each * weights
        assert set(plan.audit.types) == {NAMES[precision]}


def test_the_progress_bar_shows_the_builders_phases(typed: onnx.ModelProto) -> None:
    """The build is one task that ends complete; its steps have been named."""
    progress = Progress(disable=True)
    builder.build(typed, Profile((1, 1), (64, 64), (128, 128)), progress, precision="fp16")
    whole = progress.tasks[0]
    assert whole.description == "Building engine"
    assert whole.total
    assert whole.completed == whole.total


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_no_heavy_layer_stays_in_fp32(graph: onnx.ModelProto, precision: str) -> None:
    """Read from the ONNX graph: every convolution and matrix product is in what was asked for."""
    low, report = to_typed(graph, precision)
    types = heavy_types(low)
    assert len(types) == 14
    assert set(types.values()) == {NAMES[precision]}
    assert set(types).isdisjoint(report.islands)
    assert set(heavy_types(graph).values()) == {"FLOAT"}


def test_an_fp32_graph_is_not_passed_off_as_fp16(graph: onnx.ModelProto) -> None:
    """TensorRT 11 would build it in silence; here it is refused with the layers' names."""
    with pytest.raises(ModelError, match=r"would not be fp16: 14 of its layers are not \(node_co"):
        build(for_tensorrt(graph, with_plugins=False), precision="fp16")


def test_islands_that_are_listed_may_stay(graph: onnx.ModelProto) -> None:
    """A convolution that was kept in fp32 is refused unless the card lists it."""
    low, report = to_typed(graph, keep={"node_conv2d_3"})
    assert report.kept[0] == "node_conv2d_3"
    ready = for_tensorrt(low, with_plugins=False)
    with pytest.raises(ModelError, match="node_conv2d_3"):
        build(ready, precision="fp16")
    plan = build(ready, precision="fp16", islands=frozenset(report.islands))
    assert plan.audit.types["FLOAT"] >= 1


def test_a_quantized_graph_builds(graph: onnx.ModelProto, tmp_path: Path, exported: Path) -> None:
    """What onnxruntime's quantizer makes of a model becomes int8 layers, fp16 between them."""
    quantized = tmp_path / "quantized.onnx"
    _quantize(exported, quantized)
    output = tmp_path / "int8.engine"
    to_trt.main(
        quantized, output=output, precision=to_trt.Precision.int8, backend=to_trt.Target.rtx
    )
    assert json.loads(Path(f"{output}.json").read_text())["precision"] == "int8"
    with pytest.raises(ModelError, match="has no quantized layers"):
        to_trt.main(exported, output=tmp_path / "x", precision=to_trt.Precision.int8)
    everything = tmp_path / "everything.onnx"
    _quantize(exported, everything, None)
    with pytest.raises(ModelError, match=r"was quantized \(.*op_types_to_quantize"):
        to_trt.main(everything, output=tmp_path / "x", precision=to_trt.Precision.int8)
    # The graph with its quantized layers taken out: nothing reads int8 any more.
    with pytest.raises(ModelError, match="none reads quantized values"):
        build(for_tensorrt(to_typed(graph)[0], with_plugins=False), precision="int8")


def _quantize(model: Path, output: Path, kinds: tuple[str, ...] | None = ("Conv", "Gemm")) -> None:
    import numpy as np
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    from engine.tiling import EVERY_WINDOW
    from export.verify import noise

    class Noise(CalibrationDataReader):
        def __init__(self) -> None:
            feeds = {"min_score": np.zeros(1, np.float32), "owned": EVERY_WINDOW}
            self.left = [{"picture": noise(150, 200, seed=k)} | feeds for k in range(3)]

        def get_next(self) -> dict | None:
            return self.left.pop() if self.left else None

    quantize_static(
        model, output, Noise(), per_channel=True, op_types_to_quantize=kinds and list(kinds),
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
    )  # fmt: skip


def test_a_graph_that_cannot_be_built_is_one_sentence() -> None:
    """The builder's own words are in the message, with the node, on one line."""
    with pytest.raises(ModelError) as error:
        build(_one_node("NonZero"), Profile((1, 1), (8, 8), (9, 9)))
    assert "cannot read the graph (NonZero: " in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_operator_is_named() -> None:
    """The parser's error has the operator and the node's name."""
    with pytest.raises(ModelError, match=r"cannot read the graph \(Nonesuch the_node: ") as error:
        build(_one_node("Nonesuch", name="the_node", domain="elsewhere"))
    assert "\n" not in str(error.value)


def _one_node(op: str, **more: str) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node(op, ["picture"], ["y"], **more)],
        "g",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["h", "w", 3])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [3, "n"])],
    )
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("elsewhere", 1)]
    return helper.make_model(graph, opset_imports=imports)


@pytest.mark.parametrize("sizes", [("10", "20x20", "30x30"), ("0x1", "2x2", "3x3"), ("9x9",) * 2])
def test_sizes_must_be_height_x_width(exported: Path, tmp_path: Path, sizes: tuple) -> None:
    """Sizes that do not parse or do not rise are refused before anything is built."""
    smallest, usual, largest = (*sizes, "8x9")[:3]
    with pytest.raises(OptionError, match="--m"):
        to_trt.main(
            exported, output=tmp_path / "x", smallest=smallest, usual=usual, largest=largest
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flavour", "options", "says"),
    [
        ("tensorrt-rtx", {"workspace": 0}, "--workspace is 0; give 1 MiB or more"),
        ("tensorrt", {"level": 6}, "--optimization-level is 6; give 0 to 5"),
        ("tensorrt", {"hardware": "pascal"}, "--hardware-compatibility is 'pascal'; choose one of"),
        ("tensorrt", {"targets": ("8.6",)}, "--target 8.6 is for --backend rtx"),
        ("tensorrt-rtx", {"level": 3}, "--optimization-level does nothing in TensorRT for RTX"),
        ("tensorrt-rtx", {"timing_cache": Path("x")}, "--timing-cache does nothing"),
        ("tensorrt-rtx", {"hardware": "same"}, "--hardware-compatibility does nothing"),
        ("tensorrt-rtx", {"version_compatible": True}, "--version-compatible does nothing"),
        ("tensorrt-rtx", {"strip_weights": True}, "--strip-weights does nothing"),
        ("tensorrt-rtx", {"targets": ("9.0",)}, "--target is '9.0'; choose from 7.5, 8.0, 8.6"),
    ],
)
def test_options_that_cannot_be(
    typed: onnx.ModelProto, flavour: str, options: dict, says: str
) -> None:
    """Out of range, or without effect in this flavour: one sentence that names the option."""
    with pytest.raises(OptionError, match=says):
        build(typed, precision="fp16", options=BuildOptions(**options), flavour=flavour)


def test_too_small_a_workspace(typed: onnx.ModelProto) -> None:
    """The message has the builder's words and the option that mends it."""
    with pytest.raises(ModelError, match=r"workspace.*give a larger --workspace than 1 MiB"):
        build(typed, precision="fp16", options=BuildOptions(workspace=1))


def test_options_reach_the_builder(tmp_path: Path) -> None:
    """Each is set in the IBuilderConfig that TensorRT's documentation names it by."""
    config = trt.Builder(trt.Logger()).create_builder_config()
    options = BuildOptions(
        workspace=512, level=2, hardware="ampere+", version_compatible=True, strip_weights=True,
        targets=("8.9", "12.0"),
    )  # fmt: skip
    apply_options(trt, config, options, tmp_path / "plugins.so", "tensorrt-rtx")
    assert config.get_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 512 << 20
    assert config.builder_optimization_level == 2
    assert config.get_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    assert config.get_flag(trt.BuilderFlag.STRIP_PLAN)
    assert not config.get_flag(trt.BuilderFlag.TF32)
    assert config.profiling_verbosity == trt.ProfilingVerbosity.DETAILED
    found = [config.get_compute_capability(k) for k in range(config.num_compute_capabilities)]
    assert found == [trt.ComputeCapability.SM89, trt.ComputeCapability.SM120]
    exact = trt.Builder(trt.Logger()).create_builder_config()
    apply_options(trt, exact, BuildOptions(tf32=True), None, "tensorrt")
    assert not exact.get_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    assert exact.get_flag(trt.BuilderFlag.TF32)


def test_a_target_is_built_for_alone(typed: onnx.ModelProto) -> None:
    """One compute capability, or one that has to be asked for."""
    for target in ("8.9", "7.5"):
        plan = build(typed, precision="fp16", options=BuildOptions(targets=(target,)))
        assert plan.data[:4] == b"vtrt"


@pytest.mark.parametrize("version", ["8.6.1", "10.0.1", "10.2.0.19"])
def test_a_tensorrt_before_10_3_is_refused(version: str) -> None:
    """By its version, with what to install."""
    with pytest.raises(BackendError, match=f"TensorRT {version} is too old; install 10.3 or later"):
        check_version(version)
    for right in ("10.3.0", "10.16.1.11", "11.4.0.106"):
        check_version(right)


def test_without_tensorrt_the_message_says_what_to_do() -> None:
    """`--backend tensorrt` where it is not installed."""
    try:
        import tensorrt  # noqa: F401
    except ImportError:
        with pytest.raises(BackendError, match="--backend rtx, which needs no GPU"):
            load_builder("tensorrt")
    else:
        assert load_builder("tensorrt")


@lru_cache(maxsize=4)
def _mask_rcnn(
    blocks: tuple[int, int, int, int], canvas: tuple[int, int] | None
) -> tuple[onnx.ModelProto, Card]:
    model = Rcnn(RcnnSpec("maskrcnn", TORCHVISION, blocks=blocks, masks="class")).eval()
    graph, card = (
        detector_graph.trace(model, canvas),
        detector_graph.make_card(model, canvas=canvas),
    )
    set_card(graph, card)
    return graph, card


def test_operators_as_bodies_or_plugins(tmp_path: Path) -> None:
    """A Mask R-CNN of four blocks, both ways; the library travels with a plan that needs it."""
    graph, _ = _mask_rcnn((1, 1, 1, 1), None)
    save_onnx(graph, tmp_path / "m.onnx")
    kinds = ["bodies", "plugins"] if library.find() else ["bodies"]
    for kind in kinds:
        folder = tmp_path / kind
        folder.mkdir()
        # In a process of its own: plugins that were loaded once stay in TensorRT's registry.
        done = subprocess.run(
            [sys.executable, "-m", "maskrt", "build", str(tmp_path / "m.onnx"), "--backend", "rtx",
             "--precision", "fp32", "--operators", kind, "--output", str(folder / "m.engine")],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told = json.loads((folder / "m.engine.json").read_text())["runtime"]
        assert told["operators"] == kind
        wanted = "BatchedNms 1, PyramidRoiAlign 1" if kind == "plugins" else ""
        assert told["plugins"] == wanted
        assert (folder / library.NAME).is_file() == (kind == "plugins")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "canvas"),
    [*((one, None) for one in NAMES), *((one, (800, 1088)) for one in NAMES if one != "fp32")],
)
def test_mask_rcnn_builds(precision: str, canvas: tuple[int, int] | None) -> None:
    """R50-FPN: its layers in the precision, its NMS and its boxes in fp32, as the card lists."""
    graph, card = _mask_rcnn((3, 4, 6, 3), canvas)
    islands: frozenset[str] = frozenset()
    if precision != "fp32":
        graph, report = to_typed(graph, precision)
        islands = frozenset(report.islands)
        assert set(heavy_types(graph).values()) == {NAMES[precision]}
    profile = make_profile(card, None, None, None)
    ready = for_tensorrt(graph, with_plugins=False)
    plan = build(ready, profile, precision, islands=islands)
    assert plan.audit.types[NAMES[precision]] >= 86
    assert 80e6 < len(plan.data) < 250e6
    assert not plan.warnings


def test_a_killed_build_leaves_no_plan(exported: Path, tmp_path: Path) -> None:
    """However late the kill comes, what is there under the plan's name is whole."""
    output = tmp_path / "killed.engine"
    command = [sys.executable, str(ROOT / "export" / "to_trt.py"), str(exported)]
    command += ["--output", str(output), "--backend", "rtx"]
    for delay in (4.0, 5.0, 6.0):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not Path(f"{output}.json").exists() or output.exists()
        if output.exists():
            card = Card.from_json(Path(f"{output}.json").read_text(), "card")
            assert card.plan_sha256 == hashlib.sha256(output.read_bytes()).hexdigest()
            return
        assert all(p.name.startswith(".building-") for p in tmp_path.iterdir())


def test_a_full_disk_is_one_sentence(exported: Path, tmp_path: Path) -> None:
    """The system refuses the file (here by a limit of its size): nothing is left or changed."""
    output = tmp_path / "m.engine"
    output.write_text("an older plan")

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))

    # The typed graph goes to a folder of its own, which has room: memory.
    room = "/dev/shm" if os.access("/dev/shm", os.W_OK) else str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", _BUILD_ONLY, str(exported), str(output)],
        capture_output=True, text=True, check=False, preexec_fn=small_files,
        cwd=ROOT, env=os.environ | {"TMPDIR": room},
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith(f"OutputError cannot write {output}: File too large; give a path")
    assert output.read_text() == "an older plan"
    assert [p.name for p in tmp_path.iterdir()] == ["m.engine"]


_BUILD_ONLY = """
import sys
from pathlib import Path
from export import to_trt
try:
    to_trt.main(Path(sys.argv[1]), output=Path(sys.argv[2]), backend=to_trt.Target.rtx,
                precision=to_trt.Precision.fp32)
except Exception as error:
    sys.exit(f"{type(error).__name__} {error}")
"""


def test_torch_is_not_needed(exported: Path, tmp_path: Path) -> None:
    """A Jetson builds its plans without torch: where it cannot be imported, everything works."""
    code = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.split('.')[0] in ('torch', 'onnxscript', 'pycocotools', 'matplotlib'):\n"
        "            raise ImportError('blocked: ' + name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "from maskrt.cli import main\n"
        f"main(['build', {str(exported)!r}, '--backend', 'rtx', '--output', 'm.engine'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m.engine").is_file()


def test_a_folder_that_is_not_there(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output's folder is missing: said with the path, before anything is built."""
    monkeypatch.setattr(builder, "build", None)
    with pytest.raises(OutputError, match="give a path in a folder that exists"):
        to_trt.main(
            exported, output=tmp_path / "none" / "x.engine", backend=to_trt.Target.rtx,
            precision=to_trt.Precision.fp32,
        )  # fmt: skip


def test_messages_are_readable() -> None:
    """Without where in TensorRT's sources they were written, on one line."""
    for said, text in (
        ("ModelImporter.cpp:1071: Make sure of it.", "Make sure of it."),
        ("Error Code 1: Myelin ([tactic.cpp:1676: enumerate_tactics] No tactics\nhere.)",
         "Error Code 1: Myelin (No tactics here.)"),
        ("node: wrong type. In checkType at /_src/optimizer/common/nodeBase.cpp:456)",
         "node: wrong type"),
    ):  # fmt: skip
        assert readable(said) == text
