"""Every name of TensorRT's Python API that the code touches exists where it is used.

No machine of CI has TensorRT. `tensorrt_rtx` has the same API and more, and is installed; what not
every TensorRT from 10.3 on has is listed here with the page that documents it. The lean runtimes of
TensorRT 10.16 and 11.4 (`make registries` installs them) are the real thing for the half that runs
plans.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.machine import this_machine
from export.audit import HEAVY_LAYERS
from export.build_options import HARDWARE

ROOT = Path(__file__).resolve().parent.parent
FILES = [
    "engine/backends/trt.py", "export/audit.py", "export/build_options.py", "export/builder.py",
    "export/builder_messages.py", "plugins/library.py",
]  # fmt: skip
CLASSES = {
    "trt": "", "_trt": "", "tensorrt": "", "tensorrt_rtx": "",
    "builder": "Builder", "config": "IBuilderConfig",
    "network": "INetworkDefinition", "parser": "OnnxParser", "refusal": "ParserError",
    "shapes": "IOptimizationProfile", "layer": "ILayer", "runtime": "Runtime",
    "engine": "ICudaEngine", "_engine": "ICudaEngine", "context": "IExecutionContext",
    "_context": "IExecutionContext", "registry": "IPluginRegistry", "refitter": "Refitter",
    "cache": "ITimingCache", "refit": "OnnxParserRefitter", "jit": "IRuntimeConfig",
    "inspector": "EngineInspector",
}  # fmt: skip
"""What the code calls an object of TensorRT's, and its class; "" is the module."""
PYTHON = "https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/infer"
RTX = "https://docs.nvidia.com/deeplearning/tensorrt-rtx/latest/_static/python-api/infer"
ONLY_SOME = {
    "HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY": f"{PYTHON}/Core/BuilderConfig.html",
    "ComputeCapability": f"{RTX}/Core/BuilderConfig.html",
    "BuilderFlag.REQUIRE_USER_ALLOCATION": f"{RTX}/Core/BuilderConfig.html",
    "ICudaEngine.create_runtime_config": f"{RTX}/Core/Engine.html",
    "DynamicShapesKernelSpecializationStrategy": f"{RTX}/Core/Engine.html",
    "IBuilderConfig.num_compute_capabilities": f"{RTX}/Core/BuilderConfig.html",
    "IBuilderConfig.set_compute_capability": f"{RTX}/Core/BuilderConfig.html",
}
"""Names that not every TensorRT from 10.3 on has: each is used where it is there alone."""


def touched() -> Iterator[tuple[str, str]]:
    """(file, dotted name below the module) of all that the code touches."""
    for file in FILES:
        tree = ast.parse((ROOT / file).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                chain = _chain(node)
                if chain and chain[0] == "self":
                    chain = chain[1:]
                if len(chain) > 1 and chain[0] in CLASSES:
                    owner = [CLASSES[chain[0]]] if CLASSES[chain[0]] else []
                    yield file, ".".join(owner + chain[1:3])


def _chain(node: ast.AST) -> list[str]:
    """["trt", "BuilderFlag", "TF32"] of that expression; [] of others."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return [node.id, *names] if isinstance(node, ast.Name) else []


def has(module: object, name: str) -> bool:
    for part in name.split("."):
        if part in ("__members__", "__version__"):
            return True
        if not hasattr(module, part):
            return False
        module = getattr(module, part)
    return True


def test_the_walk_sees_what_it_should() -> None:
    """It finds names of each kind, so that it cannot pass by finding nothing."""
    names = {name for _, name in touched()}
    assert {
        "BuilderFlag.STRIP_PLAN", "Builder.build_serialized_network", "OnnxParser.parse",
        "IBuilderConfig.set_memory_pool_limit", "ICudaEngine.device_memory_size_v2",
        "IExecutionContext.execute_async_v3", "IPluginRegistry.load_library", "Refitter",
        "ExecutionContextAllocationStrategy.USER_MANAGED", "TensorIOMode.INPUT",
    } <= names  # fmt: skip
    assert len(names) > 50


def test_tensorrt_rtx_has_every_name() -> None:
    """Those that are looked up by a text too."""
    trt = pytest.importorskip("tensorrt_rtx", reason="no TensorRT for RTX on this platform")
    by_name = {f"HardwareCompatibilityLevel.{name}" for name in HARDWARE.values()}
    by_name |= {f"LayerType.{name}" for name in HEAVY_LAYERS}
    assert [(file, name) for file, name in touched() if not has(trt, name)] == []
    assert [name for name in by_name if not has(trt, name)] == []


def test_lists_are_of_names_that_are_used() -> None:
    """And each has a page."""
    text = "".join((ROOT / file).read_text() for file in FILES)
    for name, page in ONLY_SOME.items():
        assert name.rpartition(".")[2] in text
        assert page.startswith("https://docs.nvidia.com/deeplearning/tensorrt")


RUNTIME = ("ICudaEngine", "IExecutionContext", "IPluginRegistry", "Runtime", "Tensor", "Execution")
LEAN = """
import sys, json
sys.path.insert(0, sys.argv[1])
import tensorrt_lean_bindings as trt
missing = []
for name in sys.argv[2:]:
    at = trt
    for part in name.split("."):
        at = getattr(at, part, None)
        if at is None: missing.append(name); break
print(trt.__version__, json.dumps(missing))
"""


@pytest.mark.parametrize("major", ["10", "11"])
def test_the_lean_runtimes_have_what_runs_a_plan(major: str) -> None:
    """In a process of its own: two TensorRTs in one do not get along."""
    folder = ROOT / ".venv-lean" / major
    if not folder.is_dir():
        pytest.skip("TensorRT's lean runtimes are not installed (make registries)")
    names = {n for f, n in touched() if f == "engine/backends/trt.py" and n.startswith(RUNTIME)} - {
        "__version__"
    }
    done = subprocess.run(
        [sys.executable, "-c", LEAN, str(folder), *sorted(names)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    version, missing = done.stdout.split(maxsplit=1)
    assert version.startswith(major)
    assert missing.strip() == "[]"


NO_DRIVER = """
import sys
sys.path[:0] = sys.argv[1:]
import tensorrt_lean_bindings as trt
from engine.backends.trt import _logger, make_runtime
from engine.errors import BackendError
try:
    make_runtime(trt, _logger(trt))
except BackendError as error:
    print(error)
"""


@pytest.mark.skipif(bool(this_machine().gpu), reason="there is a GPU")
@pytest.mark.parametrize("major", ["10", "11"])
def test_a_driver_that_does_not_answer_is_a_sentence(major: str) -> None:
    """TensorRT's own object for it crashes as soon as it is touched, and when it is destroyed."""
    folder = ROOT / ".venv-lean" / major
    if not folder.is_dir():
        pytest.skip("TensorRT's lean runtimes are not installed (make registries)")
    done = subprocess.run(
        [sys.executable, "-c", NO_DRIVER, str(folder), str(ROOT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert "does not start (" in done.stdout
    assert "check with nvidia-smi that the driver" in done.stdout
