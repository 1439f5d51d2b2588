# %% [markdown]
# # 3. Convolution: a gather and a product
#
# A convolution is linear: its gradient is its adjoint. In small integers nothing is rounded.

# %%
from itertools import product

import lesson
import numpy as np

import minigan as mg
from minigan.kernels.geometry import axis
from minigan.kernels.reference import conv2d_loops

quick, show = lesson.start("03_convolution")
sides, depth = (range(4, 6), 3) if quick else (range(4, 10), 5)
rng = np.random.default_rng(0)

# %% [markdown]
# On an axis of $n$ pixels, tap $t$ of window $o$ reads pixel $i = s\,o + t - p$, with stride $s$
# and $p$ zeros before the image. `valid` has no zeros. `same` has $m = \lceil n / s \rceil$ windows
# and [the zeros that they need](<../kernels/geometry.py#total = max((out - 1)>), the odd one after:
# in all $\max((m - 1) s + k - n, 0)$, of which half, rounded down, are $p$.

# %%
for n, k, s in product(range(1, 20), range(1, 8), range(1, 5)):
    m = -(-n // s)
    zeros = max((m - 1) * s + k - n, 0)
    assert axis(n, k, s, "same") == (n, m, k, s, zeros // 2)
print(axis(4, 3, 1, "same"), axis(4, 3, 2, "same"), sep="\n")

# %% [markdown]
# The gather (im2col) reads what the windows see. The scatter (col2im) adds what they hold back to
# where it is from: the same index, and so the adjoint. The library's
# [gather](<../kernels/reference.py#columns[:, :, :, i, j] = padded[tap(geo, i, j)]>) and
# [scatter](<../kernels/reference.py#padded[tap(geo, i, j)] += columns[:, :, :, i, j]>) go tap by
# tap; on a GPU [each pixel](<../kernels/cuda/columns.cu#if (ow < OW) sum +=>) looks for its taps.


# %%
def meeting(a):  # the places of windows (m, m) and taps (k, k)
    i = a.stride * np.arange(a.out)[:, None] + np.arange(a.kernel)
    return slice(None), i[:, None, :, None], i[None, :, None, :]


def gather(x, a):  # images (N, n, n, C) -> columns (N, m, m, k, k, C)
    room = (a.before, a.kernel)
    return np.pad(x, [(0, 0), room, room, (0, 0)])[meeting(a)]


def scatter(columns, a):  # (N, m, m, k, k, C) -> (N, n, n, C)
    N, C, end = len(columns), columns.shape[-1], a.before + a.size
    wide = np.zeros((N, end + a.kernel, end + a.kernel, C))
    np.add.at(wide, meeting(a), columns)
    return wide[:, a.before : end, a.before : end]


x, K = np.arange(16.0).reshape(1, 4, 4, 1), np.arange(1.0, 10)
columns = gather(x, axis(4, 3, 1, "valid")).reshape(4, 9)
print(columns.astype(int), "@ K =", (columns @ K).astype(int))

# %% [markdown]
# So is the whole map a matrix $A$: its column $j$ is the convolution of the image that is 1 at
# pixel $j$ and 0 elsewhere. The transposed convolution is a product, $\text{columns} = y K^T$, and
# a scatter. Column $o$ of its matrix, found in the same way, is row $o$ of $A$: it is $A^T$.

# %%
figure, panels = lesson.figure(2, 2)
cases = [(6, "same", 1), (6, "same", 2), (6, "same", 3), (4, "valid", 1)]
for axes, (n, padding, s) in zip(panels, cases, strict=True):
    a, K = axis(n, 3, s, padding), K.reshape(3, 3, 1, 1)
    unit = [np.eye(m * m).reshape(-1, m, m, 1) for m in (n, a.out)]
    A = np.tensordot(gather(unit[0], a), K, 3).reshape(n * n, -1).T
    rows = scatter(np.tensordot(unit[1], K, (3, 3)), a)
    assert (rows.reshape(A.shape) == A).all()
    axes.imshow(A, cmap="Blues", aspect="auto")
    axes.set(title=f"A: {padding}, stride {s}", xlabel="pixel", ylabel="window")
print(A.astype(int))  # the last, of a 4 x 4 image
show("matrices.png", figure)

# %% [markdown]
# ## Six passes, one sum
# Let $T(x, K, y)$ be the sum of $x_i K_t\, y_o$ over all that meet. It is linear in each; its
# derivatives by $y$, $x$ and $K$ are `to_y`, `to_x` and `to_K`. Adjointness,
# $\langle Lx, y \rangle = \langle x, L^T y \rangle$, holds as both are $T$. A loss with gradient
# $dy$ at Conv2D's output moves as $T(x, K, dy)$ does: the three are the output, $dx$ and $dK$.
# [Conv2DTranspose](<../minigan/layers/conv.py#class _Transposed>) exchanges the roles of $x$, $y$.

# %%
layers, paddings = (mg.Conv2D, mg.Conv2DTranspose), ("valid", "same")
for make, same, n, k, s in product(layers, paddings, sides, (2, 3, 4), (1, 2, 3)):
    layer = make(2, k, strides=s, padding=same)
    layer.build((n, n, 3), dtype="float64")
    a, (k, _, C, D) = layer.geometry.rows, layer.params["kernel"].shape
    shapes = (2, a.size, a.size, C), (k, k, C, D), (2, a.out, a.out, D)
    x, K, y = (1.0 * rng.integers(-9, 10, shape) for shape in shapes)
    to_y = np.tensordot(gather(x, a), K, 3)
    to_x = scatter(np.tensordot(y, K, (3, 3)), a)
    to_K = np.tensordot(gather(x, a), y, [(0, 1, 2)] * 2)
    assert (to_y == conv2d_loops(x, K, (a, a))).all()
    assert (to_y * y).sum() == (to_x * x).sum() == (to_K * K).sum()
    if layer.transposed:
        x, y, to_x, to_y = y, x, to_y, to_x
    layer.params["kernel"][...] = mg.asarray(K)
    found, cache = layer.forward(mg.asarray(x))
    found_dx, grads = layer.backward(mg.asarray(y), cache)
    pairs = (found, to_y), (found_dx, to_x), (grads["kernel"], to_K)
    assert all((mg.to_numpy(a) == b).all() for a, b in pairs)

# %% [markdown]
# ## Checkerboards
# How many taps reach a pixel of the big side? If the stride divides $k$, equally many, but for the
# border. With $k = 3$, $s = 2$, every second pixel of an axis is a copy; the others add two, one of
# them copied a layer before: the largest is $M_{l+1} = M_l + M_{l-1}$ (Fibonacci), the least 1.
# A network can learn to undo the pattern, but rarely does so in full (Odena et al., 2016).

# %%
figure, panels = lesson.figure(2, 2)
ones = {"kernel_initializer": "ones", "strides": 2, "padding": "same"}
for i, (k, deep) in enumerate(product((3, 4), (1, depth))):
    layers = [mg.Conv2DTranspose(1, k, **ones) for _ in range(deep)]
    model = mg.Sequential(layers, input_shape=(6, 6, 1))
    count = mg.to_numpy(model.predict(np.ones((1, 6, 6, 1))))[0, ..., 0]
    inner = count[2**deep : -(2**deep), 2**deep : -(2**deep)]
    most = {1: 2, 3: 5, 5: 13}[deep] ** 2 if k == 3 else 4**deep
    assert inner.max() == most and inner.min() == (1 if k == 3 else most)
    panels[i].imshow(count, cmap="gray")
    panels[i].set(title=f"kernel {k}, layers: {deep}, taps: up to {most}", xlabel="pixel")
show("checkerboard.png", figure)
