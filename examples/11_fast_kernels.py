# %% [markdown]
# # 11. The fast kernels
# Three identities make convolutions cheaper; one costs a digit. Then the same training on a GPU.

# %%
from timeit import repeat

import lesson
import numpy as np

import minigan as mg
from minigan.kernels import cooktoom, ops, reference, using
from minigan.kernels.cpu import plan
from minigan.kernels.geometry import Axis, Geometry, axis

quick, show = lesson.start("11_fast_kernels")
images, side, width, turns = (4, 16, 32, 3) if quick else (32, 32, 64, 9)
rng = np.random.default_rng(0)
x, y, K = (rng.integers(-4, 5, s) / 1 for s in ((2, 8, 8, 3), (2, 4, 4, 5), (5, 5, 3, 5)))

# %% [markdown]
# ## Phases
# A convolution of stride 2 reads $x[2o + t - p]$. Split the tap, $t = 2u + a$. With the *phases* of
# the image, $X_a[q] = x[2q + a - p]$, it has stride 1, $y[o] = \sum_{a, u} X_a[o + u] K[2u + a]$,
# and so has its adjoint, $X_a[q] = \sum_u y[q - u] K[2u + a]$: this writes each pixel once,
# [by phases](<../kernels/geometry.py#x[i] = sum_m>), where
# [col2im](<../kernels/reference.py#padded[tap(geo, i, j)] += columns>) adds to it tap by tap.

# %%
geo, full = Geometry(*[axis(8, 4, 2, "same")] * 2), [Axis(4, 5, 2, 1, 1)] * 2
X, small, big = reference.pad(x, geo), 0, np.empty((2, 10, 10, 3))
for a, b in np.ndindex(2, 2):
    taps = K[a:4:2, b:4:2]
    small += reference.conv2d(X[:, a::2, b::2], taps, [axis(5, 2, 1, "valid")] * 2)
    big[:, a::2, b::2] = reference.conv2d(y, taps[::-1, ::-1].swapaxes(2, 3), full)
assert np.array_equal(small, reference.conv2d(x, K[:4, :4], geo))  # whole numbers: no rounding
assert np.array_equal(big[:, 1:-1, 1:-1], reference.conv2d_adjoint(y, K[:4, :4], geo))

# %% [markdown]
# ## Folding
# Behind nearest upsampling by 2, tap $t$ of 5 reads, for pixel $2q + b$, the small image's pixel
# $q + \lfloor (b + t - 2)/2 \rfloor$. Taps that read the same
# [are added up](<../minigan/layers/upsampled.py#F[u, b]    = sum>): 9 products in place of 25.

# %%
S = [np.repeat(np.eye(3), 2, axis=1)[:, b : b + 5] for b in (0, 1)]
F = np.einsum("aut,tsio,bvs->uviabo", S, K, S)  # (3, 3, channels, four phases, filters)
print(K[..., 0, 0], *F[:, :, 0, ..., 0].transpose(2, 3, 0, 1).reshape(4, 3, 3), sep="\n\n")
up, layer = mg.UpSampling2D(2), mg.Conv2D(5, 5, padding="same", use_bias=False)
layer.build(up.build((8, 8, 3), "float64"), "float64")
layer.params["kernel"][...] = mg.asarray(K)
large = mg.to_numpy(layer.forward(up.forward(mg.asarray(x))[0])[0])
y = reference.conv2d(x, F.reshape(3, 3, 3, 20), [axis(8, 3, 1, "same")] * 2)
assert np.array_equal(large, y.reshape(2, 8, 8, 2, 2, 5).swapaxes(2, 3).reshape(large.shape))

# %% [markdown]
# ## Fewer multiplications
# Two outputs of three taps, $y_o = \sum_u d_{o+u} g_u$, are six products. The transposed map is a
# product of polynomials of degrees 2 and 1, $g(t) h(t)$, which four values tell: at 0, 1, -1 and
# $\infty$ (the leading coefficient). With the powers $0 \dots k - 1$ of the points in $V_k$,
# $gh = V_4^{-1} (V_3 g \odot V_2 h)$; transposed again, [it is](<../kernels/cooktoom.py#y = V_m^T>)
# $y = V_2^T (V_3 g \odot V_4^{-T} d) = A^T (G g \odot B^T d)$, four products (Toom, 1963; Winograd,
# 1980). The coefficient of $g_u d_j$ in $y_o$ is 1 where $j = o + u$, else 0: a proof for all $g$
# and $d$, since it is in [exact fractions](<../kernels/cooktoom.py#inverse = inverted(>).

# %%
A, G = (np.array(cooktoom.powers(4, k)) for k in (2, 3))
B = np.array(cooktoom.inverted(cooktoom.powers(4, 4)))
print("A^T, G and B^T:", *(m.astype("float64") for m in (A.T, G, B.T)), sep="\n")
o, u, j = np.indices((2, 3, 4))
assert np.array_equal(np.einsum("ko,ku,jk->ouj", A, G, B), j == o + u)

# %% [markdown]
# In two dimensions all is done twice: $m \times m$ outputs take $(m + 2)^2$ products, not $9 m^2$,
# and [all tiles](<../kernels/cpu/toom.py#y = corr(x, K)>), with channels, three matrix products.
# But an output, $\sum_k A_{ko} M_k$, is less than its terms: these cancel, and their roundings do
# not, which together are in proportion to $\sqrt{\sum_k A_{ko}^2 M_k^2}$.

# %%
x, K = (rng.standard_normal(s, "float32") for s in ((1, 62, 62, 16), (3, 3, 16, 16)))
sizes, valid, errors, terms = range(2, 7), [axis(62, 3, 1, "valid")] * 2, [], []
plain, exact = (reference.conv2d(x.astype(t), K.astype(t), valid) for t in ("float32", "float64"))
for m in sizes:
    A, G, B = (np.kron(T, T).astype("float32") for T in cooktoom.transforms(m, 3))
    n, P = len(B), 60 // m
    tiles = np.lib.stride_tricks.sliding_window_view(x[0], (m + 2, m + 2), (0, 1))[::m, ::m]
    V = B.T @ tiles.transpose(3, 4, 0, 1, 2).reshape(n, -1)  # (points, tiles * channels)
    M = (V.reshape(n, -1, 16) @ (G @ K.reshape(9, -1)).reshape(n, 16, 16)).reshape(n, -1)
    Y = (A.T @ M).reshape(m, m, P, P, 16).transpose(2, 0, 3, 1, 4)
    errors.append((Y.reshape(exact.shape) - exact).std() / exact.std())
    terms.append(((A**2).T @ M**2).mean() ** 0.5 / exact.std())
figure, [axes] = lesson.figure(side=5)
axes.semilogy(sizes, errors, "o", sizes, np.multiply(terms, 2.0**-23))
axes.axhline((plain - exact).std() / exact.std(), linestyle=":")
axes.set(xlabel="m (dotted: the plain form)", ylabel="error; line: $2^{-23}$ of the terms")
assert max(np.divide(errors, terms)) < 1.5 * min(np.divide(errors, terms))
show("error.png", figure)

# %% [markdown]
# ## The time they save
# In ms: by definition; without Cook-Toom; [as planned](<../kernels/cpu/plan.py#best = min(plain>),
# with the planner's estimate. Folded is what upsampled is, from the small image.

# %%
cases = {"strided": (4, 2), "adjoint": (4, 2), "upsampled": (5, 1), "folded": (6, 2), "3x3": (3, 1)}
for name, (k, s) in cases.items():
    a, to_big, ms = axis(side, k, s, "same"), name in ("adjoint", "folded"), []
    geo, n = Geometry(a, a), a.out if to_big else a.size
    x = rng.standard_normal((images, n, n, width), "float32")
    K = rng.standard_normal((k, k, width, width), "float32")
    for kernels in ("reference", "exact", "cpu"):
        with using(kernels):
            f = ops(x).conv2d_adjoint if to_big else ops(x).conv2d
            ms.append(1e3 * min(repeat("f(x, K, geo)", number=1, repeat=turns, globals=globals())))
    path = (plan.adjoint if to_big else plan.forward)(plan.Shape(width, width, geo, images))
    print(f"{name:10}", *(f"{t:8.1f}" for t in ms), f" {path.form}, {path.cost * images / 1e6:.1f}")

# %% [markdown]
# ## On a GPU
# The same bits go in, and sums of some thousand terms of order 1 round by less than 1e-12.

# %%
digits, losses = mg.datasets.digits()[0][::2500] / 127.5 - 1, []
for backend in ("numpy", "auto"):  # auto: a GPU, if there is one
    where = mg.use(backend).__name__
    mg.seed(0)
    gan = mg.GAN(*mg.models.dcgan(size=28, channels=1, dtype="float64"))
    losses.append([float(gan.train_step(digits)["g_loss"]) for _ in range(3)])
    print(where, losses[-1], "no GPU here" if (backend, where) == ("auto", "numpy") else "")
assert np.ptp(losses, axis=0).max() < 1e-12
