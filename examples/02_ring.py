# %% [markdown]
# # 2. Two networks and a game
#
# A generator $G$ turns noise $z$ into points of the plane. A discriminator $D$ is shown points of a
# ring, and points of $G$, and learns which are which. $G$ learns from $D$ alone where the ring is.

# %%
import lesson
import numpy as np

import minigan as mg

quick, show = lesson.start("02_ring")
steps, every = (400, 100) if quick else (1600, 40)
rng = np.random.default_rng(0)
mg.seed(0)

# %% [markdown]
# ## The game
#
# $D(x) = \sigma(l)$ is how probably $x$ is real; the *logit* $l$ is what the network computes. The
# two play (Goodfellow et al., 2014, equation 1)
#
# $$ \min_G \max_D \; E[\log D(x)] + E[\log(1 - D(G(z)))] . $$
#
# $D$ minimises the negative. Its [derivative](<../minigan/losses.py#sigmoid(logits) - target>) is
# $(\sigma(l) - 1)/N$ at each of $N$ real logits and $\sigma(l)/N$ at each of $G$'s: where real
# points have the density $p$ and $G$'s have $q$, that is $p(\sigma - 1) + q\sigma$, and zero at
#
# $$ D^*(x) = \frac{p(x)}{p(x) + q(x)}, \qquad l^*(x) = \log \frac{p(x)}{q(x)} : $$
#
# the best logit is the logarithm of the ratio of the densities.
#
# $G$'s part, $E[\log(1 - \sigma(l))]$, has the
# [derivative](<../minigan/objectives.py#return -softplus(logits).mean()>) $-\sigma(l)/N$: almost
# none where $D$ is sure that a point is $G$'s. So $G$ minimises the *non-saturating*
# $E[-\log \sigma(l)]$ (section 3 of the paper), which falls with $l$ too, by $(\sigma(l) - 1)/N$.
# The complex step of lesson 1 checks both.

# %%
minimax, loss = mg.Minimax(), mg.NonSaturating()
print("   D*   log p/q   minimax   non-saturating")
for p in (0.001, 0.1, 0.5, 0.9):
    logit = np.log([p / (1 - p)])
    _, dreal, dfake = loss.d_loss(logit, logit)
    assert np.abs(p * dreal + (1 - p) * dfake) < 4 * np.finfo(float).eps
    slopes = [game.g_loss(logit)[1].item() for game in (minimax, loss)]
    numeric = [game.g_loss(logit + 1e-20j)[0].imag / 1e-20 for game in (minimax, loss)]
    assert np.allclose(slopes, numeric, rtol=1e-14, atol=0)
    print("{:5.3f} {:9.3f} {:9.3f} {:16.3f}".format(p, *logit, *slopes))

# %% [markdown]
# ## The two updates
#
# $D$'s loss is a sum over both kinds of points, and so is its gradient. Each cache belongs to one
# forward pass, so the kinds cannot be mixed up. $G$'s loss comes through $D$ and $x_n = G(z_n)$:
#
# $$ \frac{dL}{d\theta_G} = \sum_n \frac{\partial L}{\partial l_n} \cdot
#    \frac{\partial l_n}{\partial x_n} \cdot \frac{\partial x_n}{\partial \theta_G} : $$
#
# $D$'s backward pass [to its input](<../minigan/layers/dense.py#"kernel"].T>), then $G$'s
# [to its parameters](<../minigan/layers/dense.py#return ops(dz).matmul(x.T, dz)>). $D$ stands still
# because nobody steps it. This is [the library's](<../minigan/gan.py#def generator_update>) too.


# %%
def step(real, z_d, z_g):
    # D: real points should score high, G's points low
    fake, _ = G.forward(z_d, keep=False)  # nothing of G is needed for D's update
    on_real, real_cache = D.forward(real)
    on_fake, fake_cache = D.forward(fake)
    d_loss, dreal, dfake = loss.d_loss(on_real, on_fake)
    _, grads = D.backward(dreal, real_cache, wrt="params")
    _, more = D.backward(dfake, fake_cache, wrt="params")
    d_adam.step(D.params, {name: grads[name] + more[name] for name in grads})

    # G: its points should score high; the error comes back through D, which stands still
    fake, g_cache = G.forward(z_g)
    on_fake, d_cache = D.forward(fake)
    g_loss, dlogits = loss.g_loss(on_fake)
    dpoints, _ = D.backward(dlogits, d_cache, wrt="input")
    _, grads = G.backward(dpoints, g_cache, wrt="params")
    g_adam.step(G.params, grads)


# %% [markdown]
# ## D's field
#
# The heat map is $D$, white at $1/2$. An arrow is what one of $G$'s points is told,
# $-N \, \partial L/\partial x_n$, along $dD/dx$. Dots are real points.


# %%
def perceptron(outputs):
    hidden = [mg.Dense(64), mg.LeakyReLU(0.2), mg.Dense(64), mg.LeakyReLU(0.2)]
    return mg.Sequential([*hidden, mg.Dense(outputs)], input_shape=(2,))


def picture(x, real):
    logits, cache = D.forward(x)
    dx, _ = D.backward(loss.g_loss(logits)[1], cache, wrt="input")
    heat = 1 / (1 + np.exp(-mg.to_numpy(D.predict(plane)).reshape(81, 81)))
    figure, [axes] = lesson.figure(side=5)
    axes.pcolormesh(side, side, heat, cmap="PuOr", vmin=0, vmax=1, shading="gouraud")
    axes.plot(*mg.to_numpy(real).T, "g.")
    axes.quiver(*mg.to_numpy(x).T, *mg.to_numpy(-len(x) * dx).T, scale=15, width=0.004)
    axes.set(title=f"step {d_adam.t}", xlabel="$x_1$", ylabel="$x_2$", xlim=(-2, 2), ylim=(-2, 2))
    return figure


G, D, g_adam, d_adam = perceptron(2), perceptron(1), mg.Adam(1e-3), mg.Adam(1e-3)
side = np.linspace(-2, 2, 81, dtype="float32")
plane = mg.asarray(np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2))
z, frames, off = mg.asarray(rng.standard_normal((200, 2), dtype="float32")), [], []
for done in range(steps + 1):
    angle = rng.uniform(0, 2 * np.pi, 128)
    real = mg.asarray(np.stack([np.cos(angle), np.sin(angle)], axis=1).astype("float32"))
    if done % every == 0:
        x = G.predict(z)
        frames.append(picture(x, real))
        off.append(np.abs(np.linalg.norm(mg.to_numpy(x), axis=1) - 1).mean())
    step(real, *mg.asarray(rng.standard_normal((2, 128, 2), dtype="float32")))
show("training.gif", frames)

# %%
sectors, _ = np.histogram(np.arctan2(*mg.to_numpy(x).T), bins=16, range=(-np.pi, np.pi))
print(f"distance from the ring: {off[0]:.3f} before, {off[-1]:.3f} after")
print("points in sixteen sectors:", *sectors)
assert off[-1] < off[0] and (quick or (off[-1] < 0.1 and sectors.min() > 0))
show("end.png", frames[-1])
