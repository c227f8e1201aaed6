"""Fakes that cost what the real networks cost: the planted answers of `fake_onnx` beside ballast of random weights.

The ballast's work is that of the published networks in multiply-adds: SCRFD-10GF about 10 G for 640 × 640 px
(insightface, detection/scrfd), ArcFace on ResNet-50 6.3 G a face (insightface, recognition/arcface_torch).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.fake_onnx import fake_detector, fake_recogniser

NAME = "fake-scrfd-10g-arcface-r50"


@dataclass(frozen=True)
class Ballast:
    """`layers` convolutions 3 × 3 of `channels` at 1/`stride` of the input's side."""

    stride: int
    channels: int
    layers: int


DETECTOR = Ballast(stride=4, channels=64, layers=10)  # 160² px × 9 × 64² × 10 = 9.4 G
RECOGNISER = Ballast(stride=4, channels=256, layers=13)  # 28² px × 9 × 256² × 13 = 6.0 G


def write_costly_pair(models_dir: Path) -> None:
    """A fake detector and recogniser in a folder of `models_dir` whose name says what they are."""
    folder = models_dir / NAME
    folder.mkdir(parents=True)
    onnx.save(_weighted(fake_detector(), "score_8", DETECTOR), str(folder / "fake_scrfd.onnx"))
    onnx.save(_weighted(fake_recogniser(), "embedding", RECOGNISER), str(folder / "fake_arcface.onnx"))


def _weighted(model: onnx.ModelProto, output: str, ballast: Ballast) -> onnx.ModelProto:
    """The same model whose `output` waits for the ballast, which adds zero to it."""
    graph = model.graph
    _rename(graph, output, f"{output}_bare")
    _add_layers(graph, ballast)
    _add_constant(graph, "ballast_zeros", np.zeros((1, ballast.channels, 1, 1), np.float32))
    _add_constant(graph, "ballast_shape", np.array([-1, 1], np.int64))
    _add_node(graph, "GlobalAveragePool", [f"ballast_{ballast.layers}"], "ballast_mean")
    _add_node(graph, "Conv", ["ballast_mean", "ballast_zeros"], "ballast_zero")
    _add_node(graph, "Reshape", ["ballast_zero", "ballast_shape"], "ballast_flat")
    _add_node(graph, "Add", [f"{output}_bare", "ballast_flat"], output)
    onnx.checker.check_model(model)
    return model


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        names = [new if name == old else name for name in node.output]
        del node.output[:]
        node.output.extend(names)


def _add_layers(graph: onnx.GraphProto, ballast: Ballast) -> None:
    rng = np.random.default_rng(0)
    channels, stride = ballast.channels, ballast.stride
    shapes = [(channels, 3, stride, stride)] + [(channels, channels, 3, 3)] * ballast.layers
    before = graph.input[0].name
    for index, shape in enumerate(shapes):
        scale = np.prod(shape[1:]) ** -0.5
        _add_constant(graph, f"ballast_w{index}", (rng.standard_normal(shape) * scale).astype(np.float32))
        how = {"strides": [stride, stride]} if index == 0 else {"pads": [1, 1, 1, 1]}
        _add_node(graph, "Conv", [before, f"ballast_w{index}"], f"ballast_c{index}", **how)
        _add_node(graph, "Relu", [f"ballast_c{index}"], f"ballast_{index}")
        before = f"ballast_{index}"


def _add_constant(graph: onnx.GraphProto, name: str, array: np.ndarray) -> None:
    graph.initializer.append(numpy_helper.from_array(array, name))


def _add_node(graph: onnx.GraphProto, kind: str, inputs: list[str], output: str, **attributes: object) -> None:
    graph.node.append(helper.make_node(kind, inputs, [output], name=f"{kind}_{output}", **attributes))
