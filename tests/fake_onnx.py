"""Fakes: ONNX files of the shapes of InsightFace's networks, built at run time. They know no faces.

The fake detector takes every pure red square of 8 × 8 px (on a grid of 8) for a face, and plants its box and
landmarks around it. The fake recogniser is a small random network with ArcFace's input and output.
"""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

MARK_PX = 8
STRIDES = (8, 16, 32)
ANCHORS = 2
# In strides of 8 px, from a mark's top left corner: the box's left, top, right, bottom, then five points.
BOX_STRIDES = (3.0, 4.0, 3.0, 4.0)
LANDMARK_STRIDES = ((-1.5, -1.0), (1.5, -1.0), (0.0, 0.5), (-1.0, 2.0), (1.0, 2.0))


def write_fake_pair(folder: Path, seed: int = 0) -> None:
    """A fake detector and recogniser in `folder`, under other names than buffalo_l's."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(fake_detector(), str(folder / "fake_scrfd.onnx"))
    onnx.save(fake_recogniser(seed), str(folder / "fake_arcface.onnx"))


def marked_picture(
    width: int,
    height: int,
    marks: list[tuple[int, int]],
    scale: int = 1,
) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 RGB: grey noise, a red mark at each (left, top), shrunk by `scale`."""
    rng = np.random.default_rng(width * height)
    picture = np.repeat(rng.integers(60, 120, (height, width, 1), dtype=np.uint8), 3, axis=2)
    side = MARK_PX // scale
    for left, top in marks:
        picture[top : top + side, left : left + side] = (255, 0, 0)
    return picture


def fake_detector() -> onnx.ModelProto:
    """SCRFD's input (1, 3, h, w) and its nine outputs: scores, boxes and landmarks of three strides."""
    heads = [("score", _redness(), [0.0]), ("box", None, BOX_STRIDES), ("kps", None, _flat_landmarks())]
    graph = _Graph()
    for name, kernel, biases in heads:
        for stride in STRIDES:
            graph.add_head(f"{name}_{stride}", stride, kernel if stride == MARK_PX else None, list(biases))
    return graph.model("fake-scrfd")


def _redness() -> NDArray[np.float32]:
    """(3,) weights that give 1 for pure red and 0 for grey, of channels in -1..1; the fake's order is RGB."""
    return np.array([0.5, -0.25, -0.25], np.float32)


def _flat_landmarks() -> tuple[float, ...]:
    return tuple(value for point in LANDMARK_STRIDES for value in point)


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def add_head(
        self,
        name: str,
        stride: int,
        kernel: NDArray[np.float32] | None,
        biases: list[float],
    ) -> None:
        """Conv of one cell, then (candidates, values), two anchors a cell; the second's score is 0."""
        values = len(biases)
        weight = np.zeros((ANCHORS * values, 3, stride, stride), np.float32)
        if kernel is not None:
            weight[0] = kernel[:, None, None] / stride**2
        self._constant(f"{name}_w", weight)
        self._constant(f"{name}_b", np.array(biases * ANCHORS, np.float32))
        self._constant(f"{name}_shape", np.array([-1, values], np.int64))
        self._node("Conv", ["input.1", f"{name}_w", f"{name}_b"], f"{name}_c", strides=[stride, stride])
        self._node("Transpose", [f"{name}_c"], f"{name}_t", perm=[0, 2, 3, 1])
        self._node("Reshape", [f"{name}_t", f"{name}_shape"], name)
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, values]))

    def _constant(self, name: str, array: NDArray[np.generic]) -> None:
        self.weights.append(numpy_helper.from_array(array, name))

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: object) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"fake_{output}", **attributes))

    def model(self, name: str) -> onnx.ModelProto:
        picture = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 3, "height", "width"])
        return _model(helper.make_graph(self.nodes, name, [picture], self.outputs, self.weights))


def fake_recogniser(seed: int = 0) -> onnx.ModelProto:
    """ArcFace's input (n, 3, 112, 112) and output (n, 512); random convolution, ReLU and linear layer."""
    rng = np.random.default_rng(seed)
    weights = {
        "conv_w": rng.standard_normal((16, 3, 16, 16)) / 28,
        "linear_w": rng.standard_normal((16 * 49, 512)) / 28,
        "linear_b": rng.standard_normal(512) / 28,
    }
    nodes = [
        helper.make_node("Conv", ["input.1", "conv_w"], ["c"], name="fake_conv", strides=[16, 16]),
        helper.make_node("Relu", ["c"], ["r"], name="fake_relu"),
        helper.make_node("Flatten", ["r"], ["f"], name="fake_flatten"),
        helper.make_node("Gemm", ["f", "linear_w", "linear_b"], ["embedding"], name="fake_linear"),
    ]
    crops = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, ["n", 3, 112, 112])
    embeddings = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 512])
    constants = [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()]
    return _model(helper.make_graph(nodes, "fake-arcface", [crops], [embeddings], constants))


def _model(graph: onnx.GraphProto) -> onnx.ModelProto:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model
