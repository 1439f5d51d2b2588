# %% [markdown]
# # 12. A layer of your own, and its proof
# From the derivation to a GAN with a gradient penalty; and what the checker says of mistakes.

# %%
import tempfile

import lesson
import numpy as np

import minigan as mg

quick, show = lesson.start("12_own_layer")
steps, batch = (8, 32) if quick else (3000, 128)

# %% [markdown]
# ## The contract
# A layer [writes](<../minigan/layers/base.py#Subclasses write three methods>) `setup`, `compute`
# (forward) and `pullback` (backward). Nothing of a call stays in the layer: what backward needs
# comes back to it as `saved`. Penalties on gradients need both passes' derivatives, `pushforward`
# and [pullback_tangent](<../minigan/layers/base.py#The derivative of pullback's>).


# %%
@mg.register
class Swish(mg.Layer):
    """y = x s with s = sigmoid(a x), an `a` for each channel.  Ramachandran et al. (2017).

    Let u = a x. The derivative of s by u is s' = s (1 - s), and each a meets all pixels:

        dx = dy * (s + u s')        da = sum of dy * x^2 s' over all axes but the channels

    Along tx, ty = tx * (s + u s'); s' moves by s' (1 - 2 s) a tx. With c = s' (2 + u (1 - 2 s)),

        ddx = ddy * (s + u s') + dy * a c tx      dda = sum of ddy * x^2 s' + dy * x c tx
    """

    arguments = ("a_initializer",)  # of the constructor: what a file says of the layer

    def __init__(self, *, a_initializer="ones"):
        super().__init__()
        self.a_initializer = a_initializer

    def setup(self, input_shape, key):
        self.add("a", input_shape[-1:], self.a_initializer, key, fans=input_shape[-1:] * 2)
        return input_shape

    def compute(self, x, training, rng, keep):
        s = (1 + np.tanh(self.params["a"] * x / 2)) / 2  # sigmoid(a x), without overflow
        return x * s, mg.Cache((x, s) if keep else None)

    def slopes(self, x, s):
        u, ds = self.params["a"] * x, s * (1 - s)
        return s + u * ds, x * x * ds, ds * (2 + u * (1 - 2 * s))

    def total(self, t):
        return t.sum(axis=tuple(range(t.ndim - 1)))

    def pullback(self, dy, saved, to_input, to_params):
        by_x, by_a, _ = self.slopes(*saved)
        return dy * by_x if to_input else None, {"a": self.total(dy * by_a)} if to_params else {}

    def pushforward(self, tx, saved):
        return tx * self.slopes(*saved)[0], tx

    def pullback_tangent(self, ddy, saved, tx, dy, to_input, to_params):
        (x, _), (by_x, by_a, c) = saved, self.slopes(*saved)
        ddx = ddy * by_x + dy * self.params["a"] * c * tx if to_input else None
        return ddx, {"a": self.total(ddy * by_a + dy * x * c * tx)} if to_params else {}


# %% [markdown]
# ## The proof
# Row by row: backward; the contract; the Hessian's symmetry; the second order; float32.

# %%
report = mg.check_gradients(Swish(), (5, 4, 3))
print(report)
assert report.ok and report.max_error < 1e-14

# %% [markdown]
# ## Three mistakes
# The batch's mean for its sum: a factor. A wrong axis, unnoticed with as many rows as channels.
# Neither is the gradient of a function, since its Hessian is not symmetric. And values kept in the
# layer: all is right until [another forward pass](<../minigan/gradcheck.py#third = _another>).

# %%
mean, axis = Swish(), Swish()
mean.total = lambda t: t.sum(axis=(0, 1, 2)) / len(t)
axis.total = lambda t: t.sum(axis=(0, 2, 3))


class Stale(Swish):
    def compute(self, x, *rest):
        self.latest = x
        return super().compute(x, *rest)

    def slopes(self, x, s):
        return super().slopes(self.latest, s)


for wrong, rows in (mean, ["a", "hessian"]), (axis, ["a", "hessian"]), (Stale(), ["contract"]):
    failures = mg.check_gradients(wrong, (3, 3, 3)).failures
    print(*(f"{row.quantity}: {row.note}" for row in failures), "", sep="\n")
    assert [row.quantity for row in failures] == rows

# %% [markdown]
# ## At work
# Points on a ring. R1 needs [the second order](<../minigan/penalties.py#D.backward_tangent(>).

# %%
layers = ([mg.Dense(64), Swish(), mg.Dense(64), Swish(), mg.Dense(n)] for n in (2, 1))
G, D = (mg.Sequential(each, input_shape=n) for each, n in zip(layers, (8, 2), strict=True))
adams = {f"{net}_optimizer": mg.Adam(3e-3) for net in "gd"}
gan = mg.GAN(G, D, penalty=mg.GradientPenalty("r1", weight=0.02), update="simultaneous", **adams)
assert mg.check_gradients(gan).ok
for angle in np.random.default_rng(0).uniform(0, 2 * np.pi, (steps, batch)):
    gan.train_step(np.stack([np.cos(angle), np.sin(angle)], axis=1))
fakes, x = gan.sample(500), np.linspace(-4, 4, 99)[:, None]
with tempfile.TemporaryDirectory() as folder:
    mg.save(f"{folder}/D.safetensors", D)
    assert (mg.load(f"{folder}/D.safetensors").predict(fakes) == D.predict(fakes)).all()
distance = np.abs(np.linalg.norm(fakes, axis=1) - 1).mean()
assert quick or distance < 0.1
figure, [left, right] = lesson.figure(2)
left.plot(x, x / (1 + np.exp(-mg.to_numpy(D.params["swish.a"]) * x)))
left.set(title="y(x) in each channel", xlabel="x")
right.plot(*fakes.T, ".")
right.set(title=f"fakes, {distance:.3f} off the ring", aspect="equal")
show("ring.png", figure)
