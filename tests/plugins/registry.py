"""Run by test_library.py in a process of its own: the plugins in one TensorRT's registry.

    python registry.py MODULE LIBRARY

Prints the version, each creator's fields, and what `create_plugin` made of right and wrong ones.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import numpy as np

import plugins
from plugins.library import OPERATORS, VERSION
from plugins.nms.op import NmsAttributes
from plugins.roi_align.op import RoiAlignAttributes

NODES = {
    "BatchedNms": NmsAttributes(0.5, 0.05, 1000, 100).for_node(),
    "PyramidRoiAlign": RoiAlignAttributes(7, 2, aligned=False).for_node(),
}
WRONG = {"BatchedNms": {"detections": 0}, "PyramidRoiAlign": {"output_size": 0}}


def main(module: str, library: str) -> None:
    """Load the library twice and make each plugin."""
    trt = importlib.import_module(module)
    plugins.load(trt, library)
    plugins.load(trt, library)
    print("version", trt.__version__)
    for op in OPERATORS:
        creator = trt.get_plugin_registry().get_creator(op, VERSION, plugins.DOMAIN)
        print("fields", op, *sorted(known.name for known in creator.field_names))
        for name, node in (("right", NODES[op]), ("wrong", NODES[op] | WRONG[op])):
            values = arrays(node)
            given = trt.PluginFieldCollection([field(trt, k, v) for k, v in values.items()])
            made = creator.create_plugin(op, given, trt.TensorRTPhase.BUILD)
            core = made and made.get_capability_interface(trt.PluginCapabilityType.CORE)
            print(name, op, core and core.plugin_namespace)


def arrays(node: dict) -> dict[str, np.ndarray]:
    """A node's attributes as TensorRT's parser gives them to a creator: fp32 or int32."""
    made = {name: np.atleast_1d(np.asarray(value)) for name, value in node.items()}
    return {k: v.astype(np.float32 if v.dtype.kind == "f" else np.int32) for k, v in made.items()}


def field(trt: ModuleType, name: str, array: np.ndarray) -> object:
    """A field that points into the array, which has to outlive it."""
    kinds = trt.PluginFieldType
    return trt.PluginField(name, array, kinds.FLOAT32 if array.dtype.kind == "f" else kinds.INT32)


if __name__ == "__main__":
    main(*sys.argv[1:])
