#!/usr/bin/env bash
# Library: openvino 2026.4.1 on CPUs (onnx 1.20.0 writes the file, onnxruntime 1.32.0 says what ONNX's Div means).
# Behaviour: the quotient of whole numbers of which one is negative is cut toward 0 while the network runs with free
#   shapes, as ONNX says, but rounded down once shapes are fixed (Model.reshape) and the division of two sizes is folded
#   into a constant. So reshaping a network to the very shape that it is given changes its answer, and nothing tells.
# The guess: fixing shapes makes a network faster, and changes no answer but in the last digits.
# Why it matters: U-Nets exported by PyTorch cut the enlarged map to the size of the encoder's by Pad with
#   (size - own) // 2 on the left; where a size is odd, that is -1 / 2. With free shapes the last row is cut, with fixed
#   ones the first, and all that follows is shifted by a pixel. U-FISH's network (ufish 0.1.1) on 409 x 513 px found 148 of
#   423 spots elsewhere so. Keep shapes free, or pad images to a multiple of the stride before.
# Seen 2026-11-29 (Python 3.11, x86-64):
#   ONNX Runtime:             (3 - 4) / 2 = 0, (9 - 14) / 2 = -2
#   OpenVINO, free shapes:    (3 - 4) / 2 = 0, (9 - 14) / 2 = -2
#   OpenVINO, shapes fixed:   (3 - 4) / 2 = -1, (9 - 14) / 2 = -3
#   a crop of 0 1 2 3 to three: [0.0, 1.0, 2.0] with free shapes, [1.0, 2.0, 3.0] with fixed ones
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check openvino==2026.4.1 onnx==1.20.0 onnxruntime==1.32.0 numpy==2.4.6
cd "$tmp"
"$tmp/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper


def number(name, values):
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


# want and have are vectors; pads is (len(want) - len(have)) / 2, and have is cut by it on the left, by the rest on the right.
nodes = [
    helper.make_node("Shape", ["want"], ["w"]),
    helper.make_node("Shape", ["have"], ["h"]),
    helper.make_node("Sub", ["w", "h"], ["d"]),
    helper.make_node("Div", ["d", "two"], ["left"]),
    helper.make_node("Sub", ["d", "left"], ["right"]),
    helper.make_node("Concat", ["left", "right"], ["pads"], axis=0),
    helper.make_node("Pad", ["have", "pads"], ["cut"]),
]
vectors = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [n]) for n in ("want", "have")]
answers = [
    helper.make_tensor_value_info("left", TensorProto.INT64, [1]),
    helper.make_tensor_value_info("cut", TensorProto.FLOAT, ["m"]),
]
graph = helper.make_graph(nodes, "crop", vectors, answers, [number("two", [2])])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), "crop.onnx")

session, core = onnxruntime.InferenceSession("crop.onnx"), openvino.Core()


def inputs(want, have):
    return {"want": np.zeros(want, np.float32), "have": np.arange(have, dtype=np.float32)}


def by_onnx(want, have):
    return session.run(None, inputs(want, have))


def by_openvino(want, have, fixed):
    network = core.read_model("crop.onnx")
    if fixed:
        network.reshape({"want": [want], "have": [have]})
    answer = core.compile_model(network, "CPU")(inputs(want, have))
    return [answer[0], answer[1]]


sizes = ((3, 4), (9, 14))
ways = {
    "ONNX Runtime": by_onnx,
    "OpenVINO, free shapes": lambda *s: by_openvino(*s, False),
    "OpenVINO, shapes fixed": lambda *s: by_openvino(*s, True),
}
for name, way in ways.items():
    print(f"{name}:", ", ".join(f"({w} - {h}) / 2 = {int(way(w, h)[0][0])}" for w, h in sizes))
free, fixed = (by_openvino(3, 4, f)[1].tolist() for f in (False, True))
print(f"a crop of 0 1 2 3 to three: {free} with free shapes, {fixed} with fixed ones")
assert free == by_onnx(3, 4)[1].tolist() == [0, 1, 2]
assert fixed == [1, 2, 3]
PY
