"""Faults to plant in the kernels on CuPy arrays, and the rung of the tests that catches each.

    nvrtc     the compiler's own findings                       tests/kernels/test_nvrtc.py
    values    comparisons with the definitions                  tests/kernels/test_gpu.py, _conv.py
    order     equal bits in any order of blocks and threads     tests/kernels/test_gpu_order.py
    address   AddressSanitizer, UndefinedBehaviorSanitizer      tests/emugpu/project_kernels.py
    thread    ThreadSanitizer                                   tests/emugpu/project_kernels.py
    launch    a launch is held to its signature                 tests/kernels/test_gpu_launch.py

`tests` selects by pytest's -k; `reason` is what the failing rung says.
"""

from __future__ import annotations

from typing import NamedTuple

ACTIVATIONS, COLUMNS, DROPOUT, NORMALISE, OPTIMIZERS, POOLING, REDUCE = (
    f"kernels/cuda/{name}.cu"
    for name in ("activations", "columns", "dropout", "normalise", "optimizers", "pooling",
                 "reduce")
)  # fmt: skip
CONV, ELEMENTWISE, LAUNCH, NORMALISATION, REDUCE_PY = (
    f"kernels/gpu/{name}.py"
    for name in ("conv", "elementwise", "launch", "normalisation", "reduce")
)  # fmt: skip
FAILED = r"AssertionError|DID NOT RAISE|\nE +assert "


class Mutant(NamedTuple):
    """One fault: in `file` the text `old`, which stands there once, becomes `new`."""

    file: str
    old: str
    new: str
    rung: str
    tests: str = ""
    reason: str = FAILED


M = Mutant
PASSES, SLICES = "each_pass or whole_numbers", "slices or workspace"
SUMS, BIASES, ELEMENTS = "sums_over or keep_their_digits", "test_biases", "test_elementwise"
OVERFLOW = "heap-buffer-overflow"
CHUNKED = "for (int k = 1; k < 8; ++k) sum += sums[k][threadIdx.x];\n    partial[(long long)"

COMPILER = [
    M(ACTIVATIONS, "return 1 - 2 * a;", "return 1 - 2.0 * a;", "nvrtc", reason="double precision"),
    M(NORMALISE, "* (g[i] - means);", "* (g[i] - 1.01 * means);", "nvrtc",
      reason="double precision"),
    M(OPTIMIZERS, "m[i] = mean;", "m[i] = mean", "nvrtc", reason='expected a ";"'),
    M(DROPOUT, "int bits = (int)", "int spare;\n        int bits = (int)", "nvrtc",
      reason="never referenced"),
    M(COLUMNS, 'extern "C" __global__ void im2col(',
      '#include <cstdint>\nextern "C" __global__ void im2col(', "nvrtc", reason="could not open"),
]  # fmt: skip

CONVOLUTIONS = [
    M(COLUMNS, "int h = SH * oh + kh - PH, w = SW * ow + kw - PW;",
      "int h = SW * oh + kh - PH, w = SH * ow + kw - PW;", "values", PASSES),
    M(COLUMNS, "h < H && w >= 0", "h <= H && w >= 0", "address", reason=OVERFLOW),
    M(COLUMNS, "kh <= down; kh += SH", "kh < down; kh += SH", "values", PASSES),
    M(COLUMNS, "if (oh >= OH) continue;", "if (oh > OH) continue;", "values", PASSES),
    M(COLUMNS, "int down = rest % H + PH,", "int down = rest % H + PW,", "values", PASSES),
    M(COLUMNS, "if (ow < OW) sum +=", "if (ow <= OW) sum +=", "values", PASSES),
    M(COLUMNS, "int oh = rest % OH, image", "int oh = rest % OW, image", "values", PASSES),
    M(CONV, "size = max(1, WORKSPACE // (largest * x.dtype.itemsize))",
      "size = max(1, (1 << 28) // (largest * x.dtype.itemsize))", "values", SLICES),
    M(CONV, "total = part if total is None else cupy.add(total, part, out=total)", "total = part",
      "values", SLICES),
    M(CONV, "return kernel[::-1, ::-1].swapaxes(2, 3)", "return kernel[::-1].swapaxes(2, 3)",
      "values", PASSES),
    M(CONV, "x, (rows, cols) = contiguous(x), geo\n    depth",
      "x, (rows, cols) = x, geo\n    depth", "values", PASSES, "im2col: x is a strided view"),
    M(CONV, "rows.stride, cols.stride, rows.before", "cols.stride, rows.stride, rows.before",
      "values", PASSES),
    M(CONV, "channels, rows.out, cols.out,", "channels, cols.out, rows.out,", "values", PASSES),
    M(CONV, "return OC < C and geo.rows.stride == geo.cols.stride == 1",
      "return OC < C and geo.rows.stride == 1", "values", PASSES, "only a stride of 1"),
]  # fmt: skip

ELEMENTS_AND_SUMS = [
    M(ACTIVATIONS, "z[i] + bias[i % C]", "z[i] + bias[(i + 1) % C]", "values", BIASES),
    M(ACTIVATIONS, "return a * (1 - a);", "return a * (1 + a);", "values", ELEMENTS),
    M(ACTIVATIONS, "return -2 * a;", "return -a;", "values", ELEMENTS),
    M(ACTIVATIONS, "exp(x > 0 ? -x : x)", "exp(-x)", "values", ELEMENTS),
    M(ACTIVATIONS, "x > 0 ? x : slope * x", "x >= 0 ? x : slope", "values", ELEMENTS),
    M(ACTIVATIONS, "first + rows < M ? first + rows : M", "first + rows", "address",
      reason=OVERFLOW),
    M(ACTIVATIONS, "    __syncthreads();\n", "", "thread", reason="data race"),
    M(ACTIVATIONS, CHUNKED, CHUNKED.replace("k < 8", "k < 7"), "values", BIASES),
    M(ELEMENTWISE, "y = room(x, out)", "y = x", "values", ELEMENTS),
    M(REDUCE, "int half = 128; half > 0;", "int half = 128; half > 1;", "values", SUMS),
    M(REDUCE, "    sums[threadIdx.x] = sum;\n",
      "    if (first + threadIdx.x < last) sums[threadIdx.x] = sum;\n", "values", SUMS),
    M(REDUCE, "sums[threadIdx.x + half];\n        __syncthreads();", "sums[threadIdx.x + half];",
      "thread", reason="data race"),
    M(REDUCE, "partial[(group * gridDim.y + blockIdx.y) * B + j] = sum;",
      "partial[group * gridDim.y * B + j] = sum;", "values", SUMS),
    M(REDUCE, "int half = 16; half > 0;", "int half = 16; half > 1;", "values", SUMS),
    M(REDUCE, "k < chunks; k += 32", "k < chunks - 1; k += 32", "values", SUMS),
    M(REDUCE, "width = (B + 31) / 32;", "width = B / 32 + 1;", "values", SUMS),
    M(REDUCE, "group = blockIdx.x / width", "group = blockIdx.x / width / 2", "values", SUMS),
    M(REDUCE, "a[i] - b[group];", "a[i] - b[0];", "values", SUMS),
    M(REDUCE, "sum_ab += a[i] * b[i];", "sum_ab += a[i] * a[i];", "values", SUMS),
    M(REDUCE, "int half = 128; half > 0; half /= 2) {\n"
      "        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];",
      "int once = 0; once < 1; ++once) {\n"
      "        if (threadIdx.x) atomicAdd(&sums[0], sums[threadIdx.x]);", "order", "long_sums"),
    M(ACTIVATIONS, "    sums[threadIdx.y][threadIdx.x] = sum;\n    __syncthreads();\n",
      "    sums[threadIdx.y][threadIdx.x] = 0;\n    __syncthreads();\n"
      "    atomicAdd(&sums[1][threadIdx.x], sum);\n    __syncthreads();\n    sum = 0;\n",
      "order", "long_sums"),
    M(REDUCE_PY, "max(1, -(-length // rows))", "max(1, length // rows)", "values", SUMS),
    M(REDUCE_PY, "_columns.blocks((A * width, number)", "_columns.blocks((A, number)", "values",
      SUMS),
]  # fmt: skip

NORMALISATIONS = [
    M(NORMALISE, "long long a = i / MB, b = i % B", "long long a = i / B, b = i % B", "values",
      "test_passes"),
    M(NORMALISE, "s[a * s_a + b * s_b]", "s[a * mean_a + b * mean_b]", "values", "test_passes"),
    M(NORMALISE, "    if (i >= n) return;", "    if (i > n) return;", "address", reason=OVERFLOW),
    M(NORMALISE, "if (i < n) y[i] = p[i]", "if (i <= n) y[i] = p[i]", "address", reason=OVERFLOW),
    M(NORMALISATION, "strides.append((B, 1))", "strides.append((1, B))", "values", "test_passes"),
    M(OPTIMIZERS, "one_less_beta_1 * (g[i]", "one_less_beta_2 * (g[i]", "values", "test_adam"),
]  # fmt: skip

WINDOWS = [
    M(POOLING, "if (winner[o] == kh * KW + kw)", "if (winner[o] == kh * KH + kw)", "values",
      "test_pooling"),
    M(POOLING, "value > best ||", "value >= best ||", "values", "equal_values"),
    M(POOLING, " || (value != value && best == best)", "", "values", "not_a_number"),
    M(POOLING, "if (tap < 0 || value", "if (value", "values", "test_pooling or padding"),
    M(POOLING, "row / FH) * W + col / FW", "row / FW) * W + col / FH", "values", "upsampling"),
    M(POOLING, "int col = rest % (width);", "int col = rest % (height);", "values",
      "test_pooling or upsampling"),
    M(POOLING, "y[i] = sum / (inside(row, H, KH, SH, PH) * inside(col, W, KW, SW, PW));",
      "y[i] = sum / (KH * KW);", "values", "test_pooling"),
    M(POOLING, "if (h < 0 || h >= H ||", "if (h >= H ||", "address", reason=OVERFLOW),
]  # fmt: skip

MASKS = [
    M(DROPOUT, "0xBB67AE8584CAA73Bull", "0xBB67AE8584CAA73Dull", "values", "dropout"),
    M(DROPOUT, "(word)block + 1, 0, 0, step", "(word)block, 0, 0, step", "values", "dropout"),
    M(DROPOUT, "+ 1, 0, 0, step", "+ 1, 0, step, 0", "values", "dropout"),
    M(DROPOUT, "x[k / 4] >> (16 * (k % 4))", "x[k % 4] >> (16 * (k / 4))", "values", "dropout"),
    M(DROPOUT, "i = 16 * block + k;", "i = 15 * block + k;", "thread", reason="data race"),
    M(DROPOUT, "bits >= least", "bits > least", "values", "equal_to_the_rate"),
    M(DROPOUT, "if (i < size) scaled[i]", "scaled[i]", "address", reason=OVERFLOW),
    M(ELEMENTWISE, "key.step % (1 << 64)", "key.step % (1 << 32)", "values", "dropout"),
]

LAUNCHES = [
    M(LAUNCH, "if not a.flags.c_contiguous:", "if False:", "launch"),
    M(LAUNCH, "if a.dtype != wanted:", "if a.dtype.kind != wanted.kind:", "launch"),
    M(LAUNCH, "if len(arguments) != len(self.parameters):",
      "if len(arguments) > len(self.parameters):", "launch", reason=r"zip\(\)"),
    M(LAUNCH, "if type(a) is not int and not isinstance(a, np.integer):",
      "if not isinstance(a, (int, np.integer)):", "launch"),
    M(LAUNCH, "if a.data.device_id != here:", "if False:", "launch"),
    M(LAUNCH, '"int": np.int32', '"int": np.int64', "launch"),
    M(LAUNCH, "low <= a <= high", "a <= high", "launch",
      reason="out of bounds for"),
    M(LAUNCH, "(-(-n // THREADS),)", "(max(1, n // THREADS),)", "launch"),
    M(LAUNCH, "if min(*grid, *block) < 1:", "if min(*grid, *block) < 0:", "launch",
      reason="CUDA_ERROR_INVALID_VALUE|DID NOT RAISE"),
    M(LAUNCH, 'not in (("n", "int"), ("n", "long long"))', '== ("x", "int")', "launch"),
    M(LAUNCH, "if not isinstance(a, _cupy().ndarray):", "if a is None:", "launch",
      reason="DID NOT RAISE|AssertionError|Error: "),
]  # fmt: skip

GPU_MUTANTS = [
    *COMPILER, *CONVOLUTIONS, *ELEMENTS_AND_SUMS, *NORMALISATIONS, *WINDOWS, *MASKS, *LAUNCHES,
]  # fmt: skip
