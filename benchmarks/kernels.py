"""The compiled plugins against torchvision's CUDA operators: checked, then timed.

    python benchmarks/kernels.py

The plugins are driven through IPluginV3 without TensorRT (plugins/host), the paste kernel by its
own function. Both sides get the same tensors, are timed with CUDA events, and take turns. Needs a
GPU, and torchvision with CUDA.
"""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch
import typer
from rich.table import Table
from torch import Tensor

from engine import BackendError
from engine.files import check_writable, write_aside
from maskrt.console import console, run_script
from plugins import library
from plugins.host import FLOAT, HALF, HWC8, INT32, LINEAR, HostedPlugin
from plugins.host import Tensor as Described
from plugins.nms.cases import crowd
from plugins.paste.cases import scattered
from plugins.paste.launch import PasteKernel, Pasting
from plugins.roi_align.cases import pyramid
from plugins.roi_align.op import RoiAlignAttributes

TYPES = {torch.float32: FLOAT, torch.float16: HALF, torch.int32: INT32}
ALIGN = RoiAlignAttributes(7, 2, aligned=False)
IOU = 0.5
MASKS, CELLS = 100, 28


@dataclass(frozen=True)
class Contest:
    """One measurement: two ways to the same answer.

    Attributes:
        name: what is computed.
        ours, theirs: compute it once, on the current stream.
        difference: largest absolute difference of the answers, or of their kept boxes; of masks
            how many pixels differ, those within 1e-5 of the threshold left out.
        allowed: what the difference may be.
        bytes: that have to be read or written at least once.
    """

    name: str
    ours: Callable[[], object]
    theirs: Callable[[], object]
    difference: float
    allowed: float
    bytes: int


@dataclass(frozen=True)
class Result:
    """Medians in microseconds, the ratio theirs / ours, and the share of the copy bandwidth."""

    name: str
    ours_us: float
    theirs_us: float
    ratio: float
    bandwidth_share: float
    difference: float


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Timed runs of each side.")] = 200,
    regions: Annotated[int, typer.Option(help="Regions cut out.")] = 1000,
    channels: Annotated[int, typer.Option(help="Channels of the pyramid.")] = 256,
    once: Annotated[bool, typer.Option(help="Check alone: for compute-sanitizer.")] = False,
    output: Annotated[Path | None, typer.Option("--json", help="Write the results here.")] = None,
) -> None:
    """Check and time every kernel; without a GPU, say so and end."""
    if not torch.cuda.is_available():
        console.print("unmeasured: there is no GPU here")
        return
    if output:
        check_writable(output)
    path = library.find() or library.build()
    crowds, pictures = (1000, 20_000), ((480, 640), (1080, 1920))
    host = path.parent / library.HOST
    made = contests(path, host, "cuda", regions, channels, crowds, pictures)
    for contest in made:
        if not contest.difference <= contest.allowed:
            raise BackendError(
                f"{contest.name}: differs from torchvision by {contest.difference:.3g}, and "
                f"{contest.allowed:.3g} is allowed; its time would not mean anything"
            )
    if once:
        console.print(f"{len(made)} contests checked")
        return
    peak = copy_bandwidth()
    results = [time_both(contest, rounds, peak) for contest in made]
    title = f"{torch.cuda.get_device_name()}, copies {peak / 1e9:.0f} GB/s, medians of {rounds}"
    table = Table(title=title)
    for column in ("", "ours, µs", "torchvision, µs", "ratio", "of copy bandwidth", "difference"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for r in results:
        table.add_row(
            r.name, f"{r.ours_us:.1f}", f"{r.theirs_us:.1f}", f"{r.ratio:.2f}",
            f"{r.bandwidth_share:.0%}", f"{r.difference:.1e}",
        )  # fmt: skip
    console.print(table)
    if output:
        report = {"device": torch.cuda.get_device_name(), "rounds": rounds, "copy_bytes_s": peak}
        with write_aside(output) as aside:
            aside.write_text(json.dumps(report | {"results": [asdict(r) for r in results]}))


class OnTensors:
    """A hosted plugin on torch tensors: outputs and workspace are made once, as TensorRT does."""

    def __init__(
        self, plugin: HostedPlugin, inputs: Sequence[Described], outputs: Sequence[Tensor]
    ) -> None:
        self.plugin, self.outputs = plugin, outputs
        needed = plugin.prepare(inputs, [described(output) for output in outputs])
        # torch aligns allocations on a device to 512 bytes, and on a CPU to 64.
        self._memory = torch.empty(needed + 256, dtype=torch.uint8, device=outputs[0].device)
        self._workspace = -(-self._memory.data_ptr() // 256) * 256

    def __call__(self) -> Sequence[Tensor]:
        """Enqueue on torch's current stream."""
        cuda = self._memory.is_cuda
        stream = torch.cuda.current_stream().cuda_stream if cuda else 0
        self.plugin.enqueue(self._workspace, stream)
        return self.outputs


def described(tensor: Tensor, *, last: bool = False) -> Described:
    """A tensor [B, C, H, W] for a plugin; `last`: its memory is [B, H, W, C]."""
    return Described(
        tuple(tensor.shape), TYPES[tensor.dtype], HWC8 if last else LINEAR, tensor.data_ptr()
    )


def contests(
    path: Path,
    host: Path,
    device: str,
    regions: int,
    channels: int,
    crowds: Sequence[int],
    pictures: Sequence[tuple[int, int]],
) -> list[Contest]:
    """Every measurement, its answers already compared.

    Args:
        path: the plugins' library.
        host: the library that runs them.
        device: "cuda"; "cpu" for a library whose kernels were compiled for it.
        regions: that RoIAlign cuts out.
        channels: of the pyramid, a multiple of 8.
        crowds: numbers of boxes for NMS.
        pictures: heights and widths that masks are pasted into.
    """
    made = []
    for dtype, last in ((torch.float32, False), (torch.float16, False), (torch.float16, True)):
        made.append(_align(path, host, device, (regions, channels), dtype, last))
    made += [_nms(path, host, device, count) for count in crowds]
    return made + [_paste(path, device, size, bits) for size in pictures for bits in (False, True)]


def _align(
    path: Path, host: Path, device: str, size: tuple[int, int], dtype: torch.dtype, last: bool
) -> Contest:
    from torchvision.ops import MultiScaleRoIAlign

    case = pyramid(*size, 800, 1088, ALIGN)
    boxes = torch.from_numpy(case.boxes).to(device)
    levels = [torch.from_numpy(level).to(device, dtype) for level in case.features]
    form = torch.channels_last if last else torch.contiguous_format
    laid = [level.contiguous(memory_format=form) for level in levels]
    inputs = [described(boxes), *[described(level, last=last) for level in laid]]
    out = torch.empty((1, *size, 7, 7), dtype=dtype, device=device)
    ours = OnTensors(HostedPlugin(host, path, "PyramidRoiAlign", ALIGN.for_node()), inputs, [out])

    pool = MultiScaleRoIAlign([str(k) for k in range(len(levels))], 7, 2)
    named = OrderedDict((str(k), level) for k, level in enumerate(levels))
    # Its operator wants regions of the features' type; the answer to compare with is fp32's.
    typed = [boxes[0].to(dtype)]
    exact = OrderedDict((key, level.float()) for key, level in named.items())
    right = pool(exact, [boxes[0]], [(800, 1088)])
    difference = float((ours()[0][0].float() - right).abs().max())
    name = f"{'fp32' if dtype == torch.float32 else 'fp16'}{' channels last' if last else ''}"
    return Contest(
        f"PyramidRoiAlign {size[0]} x {size[1]} x 7 x 7 {name}",
        ours,
        lambda: pool(named, typed, [(800, 1088)]),
        difference,
        1e-5 if dtype == torch.float32 else 5e-4,  # values from 0 to 1 in fp16
        sum(t.numel() * t.element_size() for t in (boxes, out, *levels)),
    )


def _nms(path: Path, host: Path, device: str, count: int) -> Contest:
    from torchvision.ops import nms

    case = crowd(count)
    boxes, scores = (torch.from_numpy(array).to(device) for array in (case.boxes, case.scores))
    whole = {"dtype": torch.int32, "device": device}
    outputs = [
        torch.empty((1, count, 4), device=device), torch.empty((1, count), device=device),
        torch.empty((1, count), **whole), torch.empty((1, count), **whole), torch.empty(1, **whole),
    ]  # fmt: skip
    plugin = HostedPlugin(host, path, "BatchedNms", case.attributes.for_node())
    ours = OnTensors(plugin, [described(boxes), described(scores)], outputs)
    flat = scores[0, :, 0].contiguous()
    kept = nms(boxes[0], flat, IOU)
    _, _, _, rows, found = ours()
    same = int(found) == len(kept) and bool((rows[0, : len(kept)] == kept).all())
    return Contest(
        f"BatchedNms {count:,} boxes", ours, lambda: nms(boxes[0], flat, IOU),
        0.0 if same else 1.0, 0.0,
        sum(t.numel() * t.element_size() for t in (boxes, scores, *outputs)),
    )  # fmt: skip


def _paste(path: Path, device: str, size: tuple[int, int], packed: bool) -> Contest:
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    masks, boxes = (torch.from_numpy(a).to(device) for a in scattered(MASKS, CELLS, size))
    kernel, pasting = PasteKernel(path), Pasting(MASKS, CELLS, size, 0.5, "torchvision", packed)
    # The 32 bits of a word, whatever torch calls them.
    kind = torch.int32 if packed else torch.uint8
    out = torch.empty(pasting.shape, dtype=kind, device=device)

    def ours() -> Tensor:
        stream = torch.cuda.current_stream().cuda_stream if out.is_cuda else 0
        kernel.enqueue(pasting, masks.data_ptr(), boxes.data_ptr(), out.data_ptr(), stream=stream)
        return out

    values = paste_masks_in_image(masks[:, None], boxes, size)[:, 0]
    found = ours()
    if packed:
        places = torch.arange(8, dtype=torch.uint8, device=device)
        found = (found.view(torch.uint8)[..., None] >> places & 1).flatten(-2)[..., : size[1]]
    clear = (values - 0.5).abs() > 1e-5
    return Contest(
        f"paste {MASKS} masks, {size[1]} x {size[0]}, {'bits' if packed else 'bytes'}", ours,
        lambda: paste_masks_in_image(masks[:, None], boxes, size) > 0.5,
        float(((found == 1) != (values > 0.5))[clear].sum()), 0.0,
        sum(t.numel() * t.element_size() for t in (masks, boxes, out)),
    )  # fmt: skip


def copy_bandwidth() -> float:
    """Bytes a second that a copy of 1 GiB reads and writes on this device."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    times = [_timed(lambda: target.copy_(source)) for _ in range(20)]
    return 2 * source.numel() / (median(times[5:]) * 1e-6)


def time_both(contest: Contest, rounds: int, peak: float) -> Result:
    """Ours and theirs in turns, after a tenth of the rounds as warm-up."""
    pairs = [(_timed(contest.ours), _timed(contest.theirs)) for _ in range(rounds + rounds // 10)]
    ours, theirs = zip(*pairs[rounds // 10 :], strict=True)
    share = contest.bytes / (median(ours) * 1e-6) / peak
    ratio = median(b / a for a, b in zip(ours, theirs, strict=True))
    return Result(contest.name, median(ours), median(theirs), ratio, share, contest.difference)


def _timed(work: Callable[[], object]) -> float:
    """Microseconds between two events around it."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    work()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end) * 1000)


if __name__ == "__main__":
    run_script(main)
