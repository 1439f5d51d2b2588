# %% [markdown]
# # 6. Freezing D, and a stale cache
#
# Two mistakes that raise no error: G's step moves D, and backward reads another pass's values.

# %%
import lesson
import numpy as np

import minigan as mg

quick, show = lesson.start("06_freezing")
STEPS, loss = 40 if quick else 2000, mg.NonSaturating()


def perceptron(inputs, outputs, *norm, kind=mg.Sequential, width=64):
    layers = [mg.Dense(width), *norm, mg.LeakyReLU(0.2), mg.Dense(width), mg.LeakyReLU(0.2)]
    return kind([*layers, mg.Dense(outputs)], input_shape=(inputs,))


def draw(rng, n=128):  # points of a ring, and latents
    angle = rng.uniform(0, 2 * np.pi, n)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return [mg.asarray(a, "float32") for a in (ring, rng.standard_normal((n, 8)))]


# %% [markdown]
# G's gradient, with $x = G(z)$, contains no derivative by D's parameters. Of D it takes one factor,
# [which `wrt="input"` computes](<../minigan/gan.py#D.backward(dlogits, d_cache>):
#
# $$ \frac{\partial L}{\partial \theta_G} = \frac{\partial L}{\partial D} \cdot
#    \frac{\partial D}{\partial x} \cdot \frac{\partial x}{\partial \theta_G} . $$
#
# BatchNorm is the subtle part. D normalises by the fakes' statistics, and its
# [moving ones](<../minigan/layers/norm.py#moving += (1 - self.momentum) * (batch - moving)>) would
# follow, with no gradient and no optimizer (PyTorch's `requires_grad_(False)` does not stop them).
# Here they wait in the cache for [`commit`](<../minigan/gan.py#self.D.commit(cache)>).

# %%
G, D = perceptron(8, 2), perceptron(2, 1, mg.BatchNorm())
before, params, state = (a.copy() for a in (G.params.flat, D.params.flat, D.state.flat))
fake, g_cache = G.forward(draw(np.random.default_rng(0))[1])
logits, d_cache = D.forward(fake)
dfake, nothing = D.backward(loss.g_loss(logits)[1], d_cache, wrt="input")
mg.Adam(1e-3).step(G.params, G.backward(dfake, g_cache, wrt="params")[1])
assert nothing is None and (G.params.flat != before).any()
assert (D.params.flat == params).all() and (D.state.flat == state).all()
D.commit(d_cache)
assert (D.params.flat == params).all() and (D.state.flat != state).any()

# %% [markdown]
# ## A stale cache
#
# D's loss has two terms: forward of both, then backward of both. If the network itself keeps what
# backward needs, the fakes' values $f_n$ have replaced the real ones $x_n$ by then. What comes out,
#
# $$ \sum_n w_n \frac{\partial D(f_n)}{\partial \theta}, \qquad
#    w_n = \frac1N \big( \sigma(D(x_n)) - 1 + \sigma(D(f_n)) \big) , $$
#
# is the gradient of another function, $\sum w_n D(f_n)$ with fixed $w$: real points only weigh. The
# complex step of a whole [GAN](<../minigan/gancheck.py#def gan_rows>) tells. D's last bias passes.


# %%
class Remembering(mg.Sequential):
    def forward(self, x, **options):
        y, self.cache = super().forward(x, **options)
        return y, self.cache

    def backward(self, dy, cache, **options):
        return super().backward(dy, self.cache, **options)


for kind in mg.Sequential, Remembering:
    G, D = perceptron(8, 2, width=8), perceptron(2, 1, kind=kind, width=8)
    report = mg.check_gradients(mg.GAN(G, D, update="simultaneous"))
    print(f"{kind.__name__}: {len(report.failures)} of {len(report.rows)} comparisons fail")
    wrong = {("d_loss", p) for p in list(D.params)[:-1]} if kind is Remembering else set()
    assert {(row.what[-6:], row.quantity) for row in report.failures} == wrong

# %% [markdown]
# ## What training makes of it
#
# *Left over*: D's next update takes in what G's backward has added to D's gradients (a forgotten
# `zero_grad` in PyTorch). Where real points have the density $p$ and fakes $q$, D then minimises
# $p\,s(-\ell) + q\,s(\ell) + q\,s(-\ell)$, $s$ softplus: $\sigma(\ell) = (p + q)/(p + 2q)$, at
# $p = q$ 2/3, not 1/2. G still arrives. *One optimizer* for both networks in G's step: Adam makes
# G's wish as large as D's own step; G runs off where D rises. *Stale cache*: no ring is found.


# %%
def train(mistake):
    mg.seed(0)
    kind = Remembering if mistake == "stale cache" else mg.Sequential
    G, D = perceptron(8, 2), perceptron(2, 1, kind=kind)
    g_adam, d_adam, d_in_g = (mg.Adam(1e-3) for _ in range(3))  # Adam works element by element
    rng, history, left = np.random.default_rng(0), [], 0
    for _ in range(STEPS):
        real, z = draw(rng)
        fake, g_cache = G.forward(z)
        (on_real, real_cache), (on_fake, fake_cache) = D.forward(real), D.forward(fake)
        _, dreal, dfake = loss.d_loss(on_real, on_fake)
        grads = D.backward(dreal, real_cache, wrt="params")[1]
        grads.flat += D.backward(dfake, fake_cache, wrt="params")[1].flat + left
        d_adam.step(D.params, grads)
        on_fake, d_cache = D.forward(fake)
        dfake, of_g = D.backward(loss.g_loss(on_fake)[1], d_cache)
        g_adam.step(G.params, G.backward(dfake, g_cache, wrt="params")[1])
        left = of_g.flat if mistake == "left over" else 0
        if mistake == "one optimizer":
            d_in_g.step(D.params, of_g)
        history.append([float(abs((fake**2).sum(1) ** 0.5 - 1).mean()), float(loss.score(on_fake))])
    return mg.to_numpy(G.predict(draw(rng, 1000)[1])), np.reshape(history, (40, -1, 2)).mean(axis=1)


MISTAKES = "none", "left over", "one optimizer", "stale cache"
points, histories = zip(*map(train, MISTAKES), strict=True)
off, d = np.mean([history[-10:] for history in histories], axis=1).T
assert off[2] > 1 and (quick or off[:2].max() < 0.1 < off[3] and d[0] < 7 / 12 < d[1] < 3 / 4)
figure, panels = lesson.figure(3, 2, side=3.3)
circle, step = np.exp(2j * np.pi * np.arange(201) / 200), np.arange(40) * STEPS / 40
for i, mistake in enumerate(MISTAKES):
    panels[i].plot(*points[i].T, ".", circle.real, circle.imag, markersize=2)
    panels[i].set(title=f"mistake: {mistake}", aspect="equal", adjustable="datalim")
    panels[4].semilogy(step, histories[i][:, 0])
    panels[5].plot(step, histories[i][:, 1], label=f"{mistake}: {d[i]:.2f}")
panels[4].set(xlabel="step", ylabel="distance of fakes from the ring")
panels[5].set(xlabel="step", ylabel="D's mean on fakes", ylim=(0, 1))
panels[5].legend()
show("runs.png", figure)
