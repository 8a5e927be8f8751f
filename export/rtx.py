"""TensorRT for RTX: a typed ONNX graph to a plan, on a machine without a GPU.

The plan runs on the compute capabilities that its builder names. Nothing is executed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx
from rich.progress import Progress, TaskID

from engine.errors import BackendError, ModelError


@dataclass(frozen=True)
class Profile:
    """The smallest, the usual and the largest input picture, (height, width) each.

    Attributes:
        fitted: the same of what the graph resizes it to, for graphs that do.
    """

    smallest: tuple[int, int]
    usual: tuple[int, int]
    largest: tuple[int, int]
    fitted: tuple[tuple[int, int], tuple[int, int], tuple[int, int]] | None = None


@dataclass(frozen=True)
class Plan:
    """A serialized TensorRT plan and the version of the builder that made it."""

    data: bytes
    version: str


def load_builder() -> Any:
    """The module tensorrt_rtx.

    Raises:
        BackendError: it is not installed; the message tells a platform that has no wheel.
    """
    try:
        import tensorrt_rtx
    except (ImportError, OSError) as error:
        raise BackendError(
            f"TensorRT for RTX cannot be used here ({error}); pip install 'maskrt[rtx]' on 64-bit "
            "x86 Linux or Windows (there is no package for macOS and 64-bit Arm)"
        ) from error
    return tensorrt_rtx


def build(graph: onnx.ModelProto, profile: Profile, progress: Progress) -> Plan:
    """Build a plan from a typed graph whose input `picture` has the profile's sizes.

    Args:
        graph: float types are taken as they stand (strongly typed).
        profile: sizes of the picture.
        progress: a task is added for each of the builder's phases.

    Raises:
        BackendError: the builder is not installed.
        ModelError: the builder refuses the graph; the message has its own words.
    """
    trt = load_builder()
    logger = _logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph.SerializeToString()):
        said = "; ".join(
            parser.get_error(k).desc().split("\n")[0] for k in range(parser.num_errors)
        )
        raise ModelError(f"TensorRT-RTX cannot read the graph ({said}); export the model again")
    config = builder.create_builder_config()
    config.progress_monitor = _monitor(trt, progress)
    shapes = builder.create_optimization_profile()
    sizes = [(*size, 3) for size in (profile.smallest, profile.usual, profile.largest)]
    shapes.set_shape("picture", *sizes)
    if profile.fitted is not None:
        shapes.set_shape_input("size", *profile.fitted)
    if config.add_optimization_profile(shapes) < 0:
        raise ModelError(f"TensorRT-RTX refuses the sizes {profile}; give min <= opt <= max")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        said = "; ".join(logger.errors) or "it does not say why"
        raise ModelError(f"TensorRT-RTX cannot build the graph ({said}); try other --max sizes")
    return Plan(bytes(plan), trt.__version__)


def _logger(trt: Any) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]
        """Keeps the builder's errors for the message; the rest is not for users."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            # Without a GPU the builder says so at every step, and goes on.
            if severity <= trt.ILogger.ERROR and "CUDA driver version" not in message:
                self.errors.append(message.split("\n")[0])

    return Logger()


def _monitor(trt: Any, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """The build as one bar, and its present step as a second one."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.parents: dict[str, str | None] = {}
            self.whole = progress.add_task("waiting", total=None)
            self.part = progress.add_task("", total=None)

        def _task(self, parent: str | None) -> TaskID:
            return self.part if parent else self.whole

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            progress.reset(self._task(parent), total=steps, description=name)
            self.parents[name] = parent

        def step_complete(self, name: str, step: int) -> bool:
            progress.update(self._task(self.parents[name]), completed=step + 1)
            return True

        def phase_finish(self, name: str) -> None:
            task = self._task(self.parents[name])
            progress.update(task, completed=progress.tasks[task].total)
            progress.update(self.part, visible=task != self.whole)

    return Monitor()
