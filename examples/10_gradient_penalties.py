# %% [markdown]
# # 10. Gradient penalties
#
# $G$ learns from $D$'s slope $g(x) = dD/dx$ alone. A penalty on it needs the derivative of a
# backward pass, which frameworks find by automatic differentiation. Here it is derived and checked.

# %%
import lesson
import numpy as np

import minigan as mg

quick, show = lesson.start("10_gradient_penalties")
steps, gamma, eps = (300 if quick else 3000), 0.1, np.finfo(float).eps


def ring(n, rng):
    return np.exp(2j * np.pi * rng.random((n, 1))).view("float64")  # e^(i angle) as (cos, sin)


# %% [markdown]
# ## A derivative of a backward pass
#
# R1 (Mescheder et al., 2018, equation 9) is the mean square slope at the real points $x_n$,
#
# $$ P = \frac{\gamma}{2N} \sum_n |g(x_n)|^2, \qquad
#    v_n = \frac{\partial P}{\partial g(x_n)} = \frac{\gamma}{N} g(x_n) . $$
#
# Hold $v$ fixed: $dP = \sum_n v_n \cdot dg(x_n)$. Here $v_n \cdot g(x_n)$ is the derivative of
# $D(x_n + h v_n)$ by $h$ at $h = 0$, and derivatives commute:
#
# $$ \frac{dP}{d\theta} = \frac{d}{d\theta} \frac{d}{dh} \sum_n D(x_n + h v_n)
#    = \frac{d}{dh} \sum_n \frac{dD}{d\theta}(x_n + h v_n) : $$
#
# the parameter gradient, which backward gives, differentiated as the points move along $v$. Take
# one hidden layer, $z = xK + b$, $y = \tanh z$, $D = yw$. Back to the input, from 1 at $D$, go
# $dz = (1 - y^2)\,w^T$ and $g = dz\,K^T$. With $t$ for $d/dh$, the product rule gives
#
# $$ tz = v K, \qquad ty = (1 - y^2)\,tz, \qquad tdz = -2\,y\,ty\,w^T, $$
#
# and, applied to $dK = x^T dz$, $db = \sum_n dz_n$, $dw = \sum_n y_n^T$,
#
# $$ \frac{dP}{dK} = x^T tdz + v^T dz, \quad
#    \frac{dP}{db} = \sum_n tdz_n, \quad \frac{dP}{dw} = \sum_n ty_n^T . $$


# %%
def R1(x, K, b, w):
    y = np.tanh(x @ K + b)
    dz = (1 - y * y) * w.T
    g = dz @ K.T
    return gamma / 2 * (g * g).sum(axis=1).mean(), g, y, dz


def R1_gradient(x, K, b, w):
    _, g, y, dz = R1(x, K, b, w)
    v = gamma / len(x) * g
    tz = v @ K
    ty = (1 - y * y) * tz
    tdz = -2 * y * ty * w.T
    return {"K": x.T @ tdz + v.T @ dz, "b": tdz.sum(axis=0), "w": ty.sum(axis=0)[:, None]}


rng = np.random.default_rng(0)
x, sizes = ring(32, rng), {"K": (2, 16), "b": 16, "w": (16, 1)}
theta = {name: rng.standard_normal(size) for name, size in sizes.items()}
by_hand = R1_gradient(x, **theta)
for name, p in theta.items():
    units = 1e-20j * np.eye(p.size).reshape(p.size, *p.shape)
    numeric = np.array([R1(x, **{**theta, name: p + u})[0].imag / 1e-20 for u in units])
    error = np.abs(by_hand[name].ravel() - numeric).max() / np.abs(numeric).max()
    print(f"dP/d{name}, by hand and by the complex step: {error:.0e} apart")
    assert error < 32 * eps  # sums of 32 terms

# %% [markdown]
# ## In the library
#
# [Dense](<../minigan/layers/linear.py#self._function.derivative_tangent>) does this with its $f$,
# be it [tanh](<../minigan/layers/activations.py#.tanh_tangent>) or LeakyReLU, whose $f'' = 0$. With
# $dL/dD$ as `ddy` [mg.GAN](<../minigan/penalties.py#D.backward_tangent>) has both gradients in one.

# %%
penalty, tanh = mg.GradientPenalty("r1", weight=gamma), mg.Dense(16, activation="tanh")
D = mg.Sequential([tanh, mg.Dense(1)], input_shape=(2,), dtype="float64").to("numpy")
G = mg.Sequential([mg.Dense(2)], input_shape=(2,), dtype="float64").to("numpy")
for p, value in zip(D.params.values(), theta.values(), strict=False):
    p[...] = value
logits, cache = D.forward(x)
g, first = D.input_gradient(np.ones_like(logits), cache)  # backward, and what it leaves
P, v = penalty(g)
_, grads = D.backward_tangent(first, 0 * logits, v, cache, wrt="params")
added, _ = mg.GAN(G, D, penalty=penalty).d_gradient(0 * logits, cache, real=slice(None))
for name, expected in zip(grads, by_hand.values(), strict=False):
    assert np.allclose([grads[name], added[name]], expected, rtol=0, atol=32 * eps)
print(f"P = {P:.12f} = {R1(x, **theta)[0]:.12f}")

# %% [markdown]
# ## With and without
#
# Arrows are $dD/dx$ at $G$'s points. Without R1 $D$ is steep on the ring itself, and pushes points
# across that have arrived. With R1 the push fades there. Training in small steps then converges, if
# it starts near the solution; without a penalty it need not (Mescheder et al., 2018).


# %%
def perceptron(outputs):
    hidden = [mg.Dense(64), mg.LeakyReLU(0.2), mg.Dense(64), mg.LeakyReLU(0.2)]
    return mg.Sequential([*hidden, mg.Dense(outputs)], input_shape=(2,))


adam = dict.fromkeys(["g_optimizer", "d_optimizer"], {"name": "adam", "learning_rate": 1e-3})
plane, slopes = np.mgrid[-2:2:61j, -2:2:61j][::-1], {}
figure, panels = lesson.figure(2, side=5)
for axes, (name, kind) in zip(panels, {"no penalty": None, "R1": penalty}.items(), strict=True):
    mg.seed(0)
    gan = mg.GAN(perceptron(2), perceptron(1), penalty=kind, update="simultaneous", **adam)
    for _ in range(steps):
        gan.train_step(ring(128, rng))
    at = np.concatenate([ring(200, rng), gan.sample(200), plane.reshape(2, -1).T]).astype("float32")
    logits, cache = gan.D.forward(mg.asarray(at))
    g = mg.to_numpy(gan.D.backward(0 * logits + 1, cache, wrt="input")[0])
    size = np.linalg.norm(g, axis=1)
    heat = axes.pcolormesh(*plane, size[400:].reshape(61, 61), norm="log", clim=(0.05, 10))
    axes.quiver(*at[200:400].T, *g[200:400].T, color="r", scale=30)
    axes.set(title=name, xlabel="$x_1$", ylabel="$x_2$", xlim=(-2, 2), ylim=(-2, 2), aspect="equal")
    slopes[name] = size[:200].mean()
    print(f"{name}: mean |dD/dx| on the ring {slopes[name]:.2f}")
figure.colorbar(heat, ax=panels, label="|dD/dx|", shrink=0.8)
assert quick or slopes["R1"] < slopes["no penalty"] / 3
show("fields.png", figure)
