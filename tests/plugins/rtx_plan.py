"""Run by test_library.py in a process of its own: a plan with both plugins, built without a GPU.

    python rtx_plan.py LIBRARY

fp16 features and fp32 boxes, every size open. Prints the plan's size, and whether each is in it.
"""

from __future__ import annotations

import sys

import onnx
import tensorrt_rtx as trt
from onnx import helper

import plugins
from plugins.library import OPERATORS, VERSION
from plugins.nms.op import NmsAttributes
from plugins.roi_align.op import RoiAlignAttributes

LEVELS = 4
HALF, FLOAT, INT32 = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT, onnx.TensorProto.INT32


def model() -> onnx.ModelProto:
    """NMS's boxes, cut out of a pyramid."""
    names = {
        "plugin_namespace": plugins.DOMAIN,
        "plugin_version": VERSION,
        "domain": plugins.DOMAIN,
    }
    nms = NmsAttributes(0.5, 0.05, 1000, 100).for_node()
    align = RoiAlignAttributes(7, 2, aligned=False).for_node()
    levels = [f"p{k}" for k in range(LEVELS)]
    kept = ["kept", "kept_scores", "classes", "indices", "count"]
    nodes = [helper.make_node("BatchedNms", ["boxes", "scores"], kept, **nms, **names)]
    # Something of TensorRT's own before and after, so that formats have to be agreed upon.
    nodes += [helper.make_node("Relu", [level], [f"{level}_relu"]) for level in levels]
    inputs = ["kept", *[f"{level}_relu" for level in levels]]
    nodes += [helper.make_node("PyramidRoiAlign", inputs, ["regions"], **align, **names)]
    nodes += [helper.make_node("Relu", ["regions"], ["out"])]
    value = helper.make_tensor_value_info
    inputs = [value("boxes", FLOAT, ["b", "n", 4]), value("scores", FLOAT, ["b", "n", 3])]
    inputs += [value(f"p{k}", HALF, ["b", 256, f"h{k}", f"w{k}"]) for k in range(LEVELS)]
    outputs = [value("out", HALF, None), value("count", INT32, None), value("classes", INT32, None)]
    graph = helper.make_graph(nodes, "both", inputs, outputs)
    imports = [helper.make_opsetid("", 20), helper.make_opsetid(plugins.DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def main(library: str) -> None:
    """Build it."""
    plugins.load(trt, library)
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model().SerializeToString()):
        sys.exit("; ".join(parser.get_error(k).desc() for k in range(parser.num_errors)))
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    for name, last in (("boxes", 4), ("scores", 3)):
        profile.set_shape(name, (1, 1, last), (1, 1000, last), (4, 5000, last))
    for k in range(LEVELS):
        sizes = [
            (b, 256, h >> k, w >> k) for b, h, w in ((1, 64, 64), (1, 200, 272), (4, 336, 336))
        ]
        profile.set_shape(f"p{k}", *sizes)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        sys.exit("no plan")
    data = bytes(plan)
    print("bytes", len(data), *[op for op in OPERATORS if op.encode() in data])


if __name__ == "__main__":
    main(*sys.argv[1:])
