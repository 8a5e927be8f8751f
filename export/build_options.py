"""What may be chosen when a plan is built, under the names that trtexec's users know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from engine.errors import BackendError, OptionError

Size: TypeAlias = tuple[int, int]

OLDEST = (10, 3)
"""TensorRT before it has no strongly typed networks worth the name, or no IPluginV3."""
RTX_TARGETS = ("8.0", "8.6", "8.9", "12.0", "12.1")
"""What a plan of TensorRT for RTX runs on if no compute capability is named."""
HARDWARE = {"none": "NONE", "ampere+": "AMPERE_PLUS", "same": "SAME_COMPUTE_CAPABILITY"}


@dataclass(frozen=True)
class Profile:
    """The smallest, the usual and the largest input picture, (height, width) each.

    Attributes:
        fitted: the same of what the graph resizes it to, for graphs that do.
        levels: the same of each of the graph's inputs, for graphs that take a pyramid.
    """

    smallest: Size
    usual: Size
    largest: Size
    fitted: tuple[Size, Size, Size] | None = None
    levels: Mapping[str, tuple[Size, Size, Size]] = field(default_factory=dict)

    @property
    def pictures(self) -> Mapping[str, tuple[Size, Size, Size]]:
        """The smallest, the usual and the largest size of each of the graph's pictures."""
        return self.levels or {"picture": (self.smallest, self.usual, self.largest)}


@dataclass(frozen=True)
class BuildOptions:
    """Everything but the graph and its sizes. What is None is TensorRT's own choice.

    Attributes:
        workspace: MiB that a layer may use beside its tensors.
        level: 0 to 5, how long TensorRT looks for faster kernels.
        timing_cache: a file with kernel times of earlier builds; made if it does not exist.
        hardware: "none", "ampere+" or "same": other GPUs that the plan runs on.
        version_compatible: later versions of TensorRT run the plan too; its lean runtime and the
            plugins travel inside.
        strip_weights: the plan holds no weights; they come from an ONNX file beside it.
        targets: compute capabilities like "8.6", for TensorRT for RTX.
        tf32: fp32 layers may round to TF32, as they do by default outside of MaskRT.
    """

    workspace: int | None = None
    level: int | None = None
    timing_cache: Path | None = None
    hardware: str = "none"
    version_compatible: bool = False
    strip_weights: bool = False
    targets: tuple[str, ...] = ()
    tf32: bool = False

    def check(self, flavour: str) -> None:
        """Refuse what is out of range or is not in a flavour of TensorRT.

        Args:
            flavour: "tensorrt" or "tensorrt-rtx".

        Raises:
            OptionError: names the option.
        """
        if self.workspace is not None and self.workspace < 1:
            raise OptionError(f"--workspace is {self.workspace}; give 1 MiB or more")
        if self.level is not None and not 0 <= self.level <= 5:
            raise OptionError(f"--optimization-level is {self.level}; give 0 to 5")
        if self.hardware not in HARDWARE:
            raise OptionError(
                f"--hardware-compatibility is {self.hardware!r}; choose one of "
                f"{', '.join(HARDWARE)}"
            )
        if flavour == "tensorrt":
            if self.targets:
                raise OptionError(
                    f"--target {' '.join(self.targets)} is for --backend rtx; TensorRT builds for "
                    "the GPU that it finds, or for others with --hardware-compatibility"
                )
            return
        for given, option, instead in (
            (self.level is not None, "--optimization-level", "it always searches the same way"),
            (self.timing_cache is not None, "--timing-cache", "it times nothing while it builds"),
            (self.hardware != "none", "--hardware-compatibility", "name GPUs with --target"),
            (self.version_compatible, "--version-compatible", "its plans are of one release"),
            (self.strip_weights, "--strip-weights", "it needs a GPU for that"),
        ):
            if given:
                raise OptionError(f"{option} does nothing in TensorRT for RTX: {instead}")


def apply_options(
    trt: Any, config: Any, options: BuildOptions, library: Path | None, flavour: str
) -> None:
    """Write the options into an IBuilderConfig.

    Args:
        trt: the TensorRT that the config is of.
        config: the IBuilderConfig.
        options: checked ones.
        library: of the plugins that the graph uses.
        flavour: "tensorrt" or "tensorrt-rtx".

    Raises:
        OptionError: this TensorRT does not know a compute capability, or refuses a timing cache.
    """
    # DETAILED, so that the audit can read what each layer became; it costs a few kilobytes.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if (
        flavour == "tensorrt-rtx"
    ):  # or else it may allocate while it runs, which no graph can capture
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace << 20)
    if options.level is not None:
        config.builder_optimization_level = options.level
    if not options.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if options.hardware != "none":
        level = getattr(trt.HardwareCompatibilityLevel, HARDWARE[options.hardware], None)
        if level is None:  # SAME_COMPUTE_CAPABILITY is of 10.9
            raise OptionError(
                f"TensorRT {trt.__version__} has no hardware compatibility {options.hardware!r}; "
                "choose ampere+ or leave it out"
            )
        config.hardware_compatibility_level = level
    if options.strip_weights:
        config.set_flag(trt.BuilderFlag.STRIP_PLAN)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        if library is not None:
            config.plugins_to_serialize = [str(library)]
    if options.timing_cache is not None:
        _read_timing_cache(config, options.timing_cache)
    if options.targets:
        config.num_compute_capabilities = len(options.targets)
        for k, target in enumerate(options.targets):
            config.set_compute_capability(_capability(trt, target), k)


def _capability(trt: Any, target: str) -> Any:
    known = {
        f"{name[2:-1]}.{name[-1]}": value
        for name, value in trt.ComputeCapability.__members__.items()
        if name.startswith("SM")
    }
    if target not in known:
        raise OptionError(f"--target is {target!r}; choose from {', '.join(known)}")
    return known[target]


def _read_timing_cache(config: Any, path: Path) -> None:
    try:
        data = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise OptionError(
            f"--timing-cache {path} cannot be read ({error.strerror}); give a file of TensorRT's, "
            "or one that does not exist yet"
        ) from error
    cache = config.create_timing_cache(data)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        raise OptionError(
            f"--timing-cache {path} is not one of this TensorRT and this GPU; delete it, or give "
            "another file"
        )


def load_builder(flavour: str) -> Any:
    """The module `tensorrt` or `tensorrt_rtx`.

    Raises:
        BackendError: it is not installed, has no builder or is too old.
    """
    if flavour == "tensorrt-rtx":
        try:
            import tensorrt_rtx
        except (ImportError, OSError) as error:
            raise BackendError(
                f"TensorRT for RTX cannot be used here ({error}); pip install 'maskrt[rtx]' on "
                "64-bit x86 Linux or Windows (there is no package for macOS and 64-bit Arm)"
            ) from error
        return tensorrt_rtx
    try:
        import tensorrt
    except (ImportError, OSError) as error:
        raise BackendError(
            f"TensorRT cannot be used here ({error}); install it (docs/datacenter.md, "
            "docs/jetson.md), or build with --backend rtx, which needs no GPU"
        ) from error
    check_version(tensorrt.__version__)
    return tensorrt


def check_version(version: str) -> None:
    """Refuse a TensorRT before 10.3.

    Raises:
        BackendError: says which is wanted.
    """
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < OLDEST:
        raise BackendError(
            f"TensorRT {version} is too old; install 10.3 or later (on Jetson: JetPack 6.1 or "
            "later)"
        )
