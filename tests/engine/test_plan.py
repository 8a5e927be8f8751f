"""The plan backend's buffers, shapes, threads, graphs and closing, on the CPU."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from host_device import HostDevice, OrtNetwork

from engine import BackendError, OptionError, Segmenter
from engine.backends import open_backend
from engine.backends.plan import MOST_SHAPES, Arena, PlanBackend
from engine.tiling import EVERY_WINDOW

SIZES = [(90, 120), (64, 64), (133, 71), (90, 120), (90, 121)]


@pytest.fixture(scope="module")
def typed(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small DeepMask in fp16, as a plan has it: no row of it depends on the data."""
    from export.model_file import read_onnx, save_onnx
    from export.precision import to_typed, without_row_cuts

    path = tmp_path_factory.mktemp("typed") / "typed.onnx"
    save_onnx(without_row_cuts(to_typed(read_onnx(exported)[0])[0]), path)
    return path


def make(
    typed: Path, device: HostDevice, *, memory: int = 4096, arena: Arena | None = None,
    graphs: bool = True,
) -> PlanBackend:  # fmt: skip
    backend = open_backend(typed)
    n, s = backend.card.proposals, backend.card.mask_size
    network = OrtNetwork(
        device,
        str(typed),
        {"picture": ((1, 1, 3), (700, 700, 3)), "min_score": ((1,), (1,)), "owned": ((4,), (4,))},
        {"scores": (n,), "windows": (n, 2), "masks": (n, s, s), "count": (1,), "piece": (n,)},
        memory=memory,
    )
    return PlanBackend(network, device, backend.card, "host", arena=arena, graphs=graphs)


def inputs(seed: int, size: tuple[int, int]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
    return {"picture": picture, "min_score": np.zeros(1, np.float32), "owned": EVERY_WINDOW}


@pytest.mark.parametrize("zero_copy", [False, True])
@pytest.mark.parametrize("graphs", [False, True])
def test_the_same_answer_as_onnxruntime(typed: Path, zero_copy: bool, graphs: bool) -> None:
    """Bit for bit, for shapes in any order and as often as one likes."""
    right = open_backend(typed)
    device = HostDevice(zero_copy=zero_copy)
    backend = make(typed, device, graphs=graphs)
    for repeat in range(4):
        for k, size in enumerate(SIZES):
            given = inputs(10 * repeat + k, size)
            expected, found = right.run(given), backend.run(given)
            assert expected.keys() == found.keys()
            for name in expected:
                np.testing.assert_array_equal(found[name], expected[name])
    assert ("capture" in device.log) == graphs
    backend.close()


def test_memory_is_allocated_once(typed: Path) -> None:
    """After the first call nothing is allocated any more, whatever the shapes."""
    device = HostDevice()
    backend = make(typed, device)
    backend.run(inputs(0, (10, 10)))
    before = device.log.count("allocate"), len(device.host)
    for size in SIZES:
        backend.run(inputs(1, size))
    assert (device.log.count("allocate"), len(device.host)) == before
    backend.close()


def test_results_are_the_callers_own(typed: Path) -> None:
    """A later call does not write into an earlier answer."""
    backend = make(typed, HostDevice())
    first = backend.run(inputs(0, (90, 120)))
    kept = {name: value.copy() for name, value in first.items()}
    backend.run(inputs(1, (90, 120)))
    for name, value in kept.items():
        np.testing.assert_array_equal(first[name], value)
    backend.close()


def test_a_shape_is_captured_at_its_second_call(typed: Path) -> None:
    """Once, and replayed from then on; other shapes keep their own graphs."""
    device = HostDevice()
    backend = make(typed, device)
    for _ in range(3):
        backend.run(inputs(0, (50, 60)))
        backend.run(inputs(0, (60, 50)))
    assert device.log.count("capture") == 2
    assert device.log.count("launch") == 4
    backend.close()


def test_contexts_are_bounded(typed: Path) -> None:
    """Shapes that were used longest ago give their context and graph back."""
    device = HostDevice()
    backend = make(typed, device)
    for k in range(2 * MOST_SHAPES):
        for _ in range(2):
            backend.run(inputs(k, (20 + k, 20)))
    gc.collect()
    assert backend._network.contexts == MOST_SHAPES
    assert len(device.graphs) == MOST_SHAPES
    backend.close()


def test_without_graphs_it_runs_all_the_same(typed: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Work that cannot be captured runs without, the same, and this is logged once."""
    right = open_backend(typed)
    backend = make(typed, HostDevice(capturable=False))
    with caplog.at_level(logging.WARNING):
        for k in range(6):
            given = inputs(k, (40, 50 + k % 2))
            np.testing.assert_array_equal(backend.run(given)["masks"], right.run(given)["masks"])
    assert [r.message for r in caplog.records] == [
        "host runs without CUDA graphs: this device captures nothing"
    ]
    backend.close()


def test_threads_have_lanes_of_their_own(typed: Path) -> None:
    """Calls at the same time do not mix, and there are as many lanes as there were such calls."""
    right = open_backend(typed)
    device = HostDevice()
    backend = make(typed, device)
    given = [inputs(k, SIZES[k % len(SIZES)]) for k in range(24)]
    expected = [right.run(one)["masks"] for one in given]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: backend.run(one)["masks"], given))
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)
    assert 1 <= len(device.queues) <= 4
    backend.close()
    assert device.held == 0


def test_plans_can_share_memory(typed: Path) -> None:
    """Two plans in one arena take turns; it grows to the larger need, and graphs are made anew."""
    right = open_backend(typed)
    device, arena = HostDevice(), Arena()
    small = make(typed, device, memory=1000, arena=arena)
    large = make(typed, device, memory=9000, arena=arena)
    for _ in range(3):
        small.run(inputs(0, (40, 40)))
    assert arena.size == 1000
    with ThreadPoolExecutor(4) as pool:
        given = [inputs(k, SIZES[k % len(SIZES)]) for k in range(16)]
        runs = [(small, large)[k % 2] for k in range(16)]
        found = list(pool.map(lambda pair: pair[0].run(pair[1])["scores"], zip(runs, given)))  # noqa: B905
    for one, scores in zip(given, found, strict=True):
        np.testing.assert_array_equal(right.run(one)["scores"], scores)
    assert arena.size == 9000
    small.close()
    large.run(inputs(3, (41, 40)))
    large.close()
    assert len(device.blocks) == 1, "the arena is its owner's"


def test_everything_is_given_back_in_order(typed: Path) -> None:
    """Contexts before the plan; a second close does nothing."""
    device = HostDevice()
    backend = make(typed, device)
    for size in SIZES:
        backend.run(inputs(0, size))
    backend.close()
    backend.close()
    assert device.held == 0
    assert device.log[-1] == "close network"
    with pytest.raises(BackendError, match="closed"):
        backend.run(inputs(0, (10, 10)))


def test_close_waits_for_calls(typed: Path) -> None:
    """A call that has begun ends as if nobody closed."""
    device = HostDevice()
    backend = make(typed, device)
    begun, go_on = threading.Event(), threading.Event()
    wait = device.wait

    def slow(stream: int) -> None:
        begun.set()
        go_on.wait(10)
        wait(stream)

    device.wait = slow
    with ThreadPoolExecutor(2) as pool:
        call = pool.submit(backend.run, inputs(0, (40, 40)))
        assert begun.wait(10)
        closing = pool.submit(backend.close)
        assert not closing.done()
        go_on.set()
        assert call.result(10)["count"].shape == (1,)
        closing.result(10)
    assert device.held == 0


def test_it_is_closed_when_it_is_forgotten_and_at_exit(typed: Path) -> None:
    """Nobody has to call close: neither for what is collected, nor at the interpreter's end."""
    device = HostDevice()
    backend = make(typed, device)
    backend.run(inputs(0, (40, 40)))
    del backend
    gc.collect()
    assert device.held == 0
    here = Path(__file__).parent
    code = (
        f"import sys; sys.path[:0] = [{str(here)!r}, {str(here.parent.parent)!r}]\n"
        "from pathlib import Path\n"
        "from test_plan import make, inputs, HostDevice\n"
        "device = HostDevice()\n"
        "release = device.release_stream\n"
        "device.release_stream = lambda s: (release(s), print('closed', device.held))\n"
        f"backend = make(Path({str(typed)!r}), device)\n"
        "backend.run(inputs(0, (40, 40)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "closed 0\n"


def test_a_failure_is_an_error_and_the_next_call_works(typed: Path) -> None:
    """The lane in which something failed is not used again."""
    device = HostDevice()
    backend = make(typed, device)
    backend.run(inputs(0, (40, 40)))
    backend._network.fail = True
    with pytest.raises(BackendError, match="fails"):
        backend.run(inputs(0, (41, 40)))
    assert device.held == 0
    backend._network.fail = False
    right = open_backend(typed).run(inputs(5, (41, 40)))
    np.testing.assert_array_equal(backend.run(inputs(5, (41, 40)))["scores"], right["scores"])
    backend.close()


def test_too_little_memory_leaves_nothing_behind(typed: Path) -> None:
    """A lane that cannot be made gives back what it had."""
    device = HostDevice(room=3_000_000)
    backend = make(typed, device)
    with pytest.raises(BackendError, match="no memory"):
        backend.run(inputs(0, (40, 40)))
    assert device.held == 0
    backend.close()


def test_a_picture_that_the_plan_was_not_built_for(typed: Path) -> None:
    """The message has both sizes and the options that mend it."""
    backend = make(typed, HostDevice())
    with pytest.raises(OptionError, match=r"701 x 40 x 3, .* 1 x 1 x 3 to 700 x 700 x 3; .*--max"):
        backend.run(inputs(0, (701, 40)))
    backend.close()


def test_a_segmenter_runs_on_it(typed: Path) -> None:
    """From a photo to masks: the pyramid's levels are shapes of one lane."""
    photo = Path(__file__).parents[2] / "maskrt" / "data" / "coins.png"
    device = HostDevice()
    scales = [0.5, 0.7, 1.0, 1.4]
    with Segmenter(make(typed, device)) as on_plan, Segmenter(typed) as right:
        for _ in range(3):
            found, expected = on_plan(photo, scales=scales), right(photo, scales=scales)
            np.testing.assert_array_equal(found.scores, expected.scores)
            np.testing.assert_array_equal(found.masks, expected.masks)
        assert len(found) >= 20
    assert device.held == 0


def test_shapes_that_are_computed_on_the_cpu(tmp_path: Path) -> None:
    """A context and a graph belong to the values of its host inputs too."""
    import onnx

    text = """<ir_version: 10, opset_import: ["" : 20]>
    g (uint8[h, w, 3] picture, int64[2] size) => (int64[1] y) {
        area = ReduceProd <keepdims = 1> (size)
        as_float = Cast <to = 7> (picture)
        sum = ReduceSum <keepdims = 0> (as_float)
        y = Add (area, sum)
    }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    device = HostDevice()
    network = OrtNetwork(
        device, str(tmp_path / "m.onnx"),
        {"picture": ((1, 1, 3), (9, 9, 3)), "size": ((2,), (2,))}, {"y": (1,)}, on_host=["size"],
    )  # fmt: skip
    backend = PlanBackend(network, device, None, "host")  # type: ignore[arg-type]
    picture = np.ones((4, 5, 3), np.uint8)
    for size in [(2, 3), (7, 5), (2, 3), (7, 5), (2, 3), (7, 5)]:
        found = backend.run({"picture": picture, "size": np.array(size, np.int64)})
        assert found["y"].tolist() == [60 + size[0] * size[1]]
    assert network.contexts == 2
    backend.close()
