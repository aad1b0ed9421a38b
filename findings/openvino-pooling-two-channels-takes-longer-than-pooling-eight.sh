#!/usr/bin/env bash
# Library: OpenVINO 2026.4.1, CPU plugin, float32, one thread.
# Behaviour: average and max pooling of tiles with two channels (image and a second picture of it) is not done in the
#   tiles' own layout: the plugin inserts a reorder to channel blocks before it and one behind it. So it takes several
#   times as long as pooling with eight channels, four times the pixels, and longer than a convolution with stride 2
#   that computes the very same means by weights of a quarter on the diagonal. One channel is pooled without reorders.
# The guess: pooling is bound by memory; its time goes with the pixels, and no convolution that gives the same numbers
#   beats it. Eight channels take four times as long as two.
# Why it matters: networks that look at an image and its enhanced, denoised or segmented partner have two channels, and
#   reducing both by half at the entrance looks free. Here it took longer than the six convolutions behind it. Binning
#   before the network (OpenCV, INTER_AREA) or a strided first convolution costs a tenth of it.
# Seen 2026-11-30 (Python 3.11, AVX-512, 16 tiles of 256 x 256 px, best of ten; times differ between machines):
#   average     1 channels:   1.1 ms, reorders: 0
#   average     2 channels:  15.2 ms, reorders: 2
#   average     8 channels:   5.4 ms, reorders: 0
#   largest     2 channels:  15.5 ms, reorders: 2
#   largest     8 channels:   4.9 ms, reorders: 0
#   convolution 2 channels:   3.5 ms, reorders: 2
#   average pooling and convolution of two channels give the same means: True
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check openvino==2026.4.1 numpy==2.4.6
cat > "$tmp/seen.py" <<'PY'
import time

import numpy as np
import openvino as ov

ops, core = ov.opset13, ov.Core()
HINTS = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}


def average(x):
    return ops.avg_pool(x, [2, 2], [0, 0], [0, 0], [2, 2], True)


def largest(x):
    return ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)


def convolution(x):
    n = x.get_shape()[1]
    kernel = np.zeros((n, n, 2, 2), np.float32)
    kernel[range(n), range(n)] = 0.25
    return ops.convolution(x, ops.constant(kernel), [2, 2], [0, 0], [0, 0], [1, 1])


def run(make, channels):
    image = ops.parameter([16, channels, 256, 256], np.float32)
    model = core.compile_model(ov.Model([make(image)], [image], "one"), "CPU", HINTS)
    tiles = np.random.default_rng(0).random((16, channels, 256, 256), np.float32)
    answer, times = model([tiles])[0].copy(), []
    for _ in range(10):
        began = time.process_time()
        model([tiles])
        times.append(time.process_time() - began)
    kinds = [str(op.get_rt_info()["layerType"].astype(str)) for op in model.get_runtime_model().get_ops()]
    return answer, 1e3 * min(times), kinds.count("Reorder")


seen = {}
for make in (average, largest, convolution):
    for channels in (1, 2, 8):
        seen[make, channels] = run(make, channels)
        answer, ms, reorders = seen[make, channels]
        print("%-11s %d channels: %5.1f ms, reorders: %d" % (make.__name__, channels, ms, reorders))
same = np.abs(seen[average, 2][0] - seen[convolution, 2][0]).max() < 1e-6
print("average pooling and convolution of two channels give the same means:", bool(same))
slow = all(seen[make, 2][1] > 1.2 * seen[make, 8][1] for make in (average, largest))
beaten = seen[average, 2][1] > 1.2 * seen[convolution, 2][1]
if not (same and slow and beaten and seen[average, 2][2] > seen[average, 8][2]):
    raise SystemExit("changed: two channels are pooled as fast as their pixels say")
PY
"$tmp/venv/bin/python" "$tmp/seen.py"
