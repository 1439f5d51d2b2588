# %% [markdown]
# # 4. Batch normalisation, backwards
#
# A value moves its whole batch, so its gradient comes back through mean and variance too. With
# $\langle\;\rangle$ for the mean over the $m$ values of a channel (Ioffe and Szegedy, 2015; here
# [in the library](<../minigan/layers/norm.py#xhat = ops(x).normalise(x, mean, s)>)):
#
# $$ \mu = \langle x \rangle, \qquad v = \langle (x - \mu)^2 \rangle, $$
# $$ s = (v + \epsilon)^{-1/2}, \qquad \hat x = s\,(x - \mu), \qquad y = \gamma \hat x + \beta . $$

# %%
import lesson
import numpy as np

import minigan as mg

quick, show = lesson.start("04_batch_norm")
m, C, epsilon, steps = 8, 3, 1e-3, 100 if quick else 10_000
rng = np.random.default_rng(0)
x, dy = rng.normal(1, 2, (m, C)), rng.standard_normal((m, C))
gamma = rng.uniform(1, 2, C)


def forward(x, epsilon=epsilon):
    mean = x.mean(0)
    s = (((x - mean) ** 2).mean(0) + epsilon) ** -0.5
    return mean, s, s * (x - mean)


mean, s, xhat = forward(x)

# %% [markdown]
# ## Three paths, one line
# Let $g = \gamma\, dy$, the gradient of $\hat x$. Then $x_i$ moves the loss directly, by $s\, g_i$;
# through $v$, by $-\frac12 s^3 \sum g_j (x_j - \mu)$ times $\frac2m (x_i - \mu)$; through $\mu$, by
# $-s \sum g_j$ times $\frac1m$ ($\mu$ does not move $v$: $-\frac2m \sum (x_j - \mu) = 0$). The
# complex step of lesson 1 and the layer agree, up to the rounding of sums of $m$ terms. With
# $x - \mu = \hat x / s$ the sum of the three becomes
# [one line](<../kernels/reference.py#return scale * (g - mean_g - xhat * mean_gx)>):
#
# $$ dx = \gamma s\, (dy - \langle dy \rangle - \hat x\, \langle dy\, \hat x \rangle) . $$


# %%
def pull(dy, s, xhat, sign=1):
    return s * (dy - dy.mean(0) - sign * xhat * (dy * xhat).mean(0))


g, dx = gamma * dy, gamma * pull(dy, s, xhat)
by_v = -(s**3) / 2 * (g * (x - mean)).sum(0) * 2 / m * (x - mean)
paths = np.array([s * g, by_v, 0 * x - s * g.sum(0) / m])
print("directly, by v, by mu:", paths[:, :, 0].round(2), sep="\n")
aside = 1e-20j * np.eye(x.size).reshape(-1, m, C)
numeric = np.array([(g * forward(x + h)[2]).sum().imag for h in aside])
layer = mg.BatchNorm(epsilon=epsilon, momentum=0.9)
layer.build((C,), dtype="float64")
layer.params["gamma"][...] = mg.asarray(gamma)
_, cache = layer.forward(mg.asarray(x))
layer_dx = mg.to_numpy(layer.backward(mg.asarray(dy), cache)[0])
rounding = m * np.finfo(float).eps * np.abs(paths[0]).max()
for found in (paths.sum(0), numeric.reshape(m, C) / 1e-20, layer_dx):
    assert np.abs(found - dx).max() < rounding

# %% [markdown]
# ## A projection
# So $dx = \gamma s P\, dy$, $P = I - \frac1m e e^T - \frac1m \hat x \hat x^T$, $e = (1, \dots, 1)$.
# $P$ takes away all along $e$, as a shift of $x$ leaves $y$ alone, and most along $\hat x$, as a
# stretch nearly does: $\hat x^T \hat x = m v s^2$, so $P \hat x = (1 - v s^2) \hat x$, and
# $1 - v s^2 = \epsilon s^2$. Other directions stay. Drawn: the plane across $e$, for $m = 3$.

# %%
P = np.eye(m) - 1 / m - np.outer(xhat[:, 0], xhat[:, 0]) / m
left = epsilon * s**2
values = [0, left[0], *[1] * (m - 2)]
assert np.abs(np.linalg.eigvalsh(P) - values).max() < rounding
assert np.abs(dx.sum(0)).max() < m * rounding
assert np.abs(((dx - left * paths[0]) * xhat).sum(0)).max() < m * rounding
figure, panels = lesson.figure(2)
plane = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2], [6]])
u, w = np.meshgrid(*[np.linspace(-2, 2, 16)] * 2)
for axes, e in zip(panels, (epsilon, 1), strict=True):
    _, s3, xhat3 = forward(plane.T @ [u.ravel(), w.ravel()], e)
    axes.quiver(u, w, *(plane @ pull(plane[:1].T, s3, xhat3)))
    axes.set(title=f"dx, epsilon {e}", xlabel="x along dy", ylabel="x across dy")
show("projection.png", figure)

# %% [markdown]
# ## What goes wrong unseen
# With $dy = 1$ the loss is $\sum y = m \beta$ whatever $x$ is, so $dx = 0$: a check with it passes
# without the term of $v$, with its sign wrong, or with no $dx$ at all. `check_gradients`
# [refuses](<../minigan/numeric.py#passing = [k for k, c in wrong.items()>) it. And with $\mu$ and
# $v$ taken for constants, $dx = \gamma s\, dy$: a bias $b$ before the layer, which cannot change
# $y$, then grows without end (Ioffe and Szegedy, 2015, section 2).

# %%
for sign in (1, 0, -1):
    ones, other = (gamma * pull(d, s, xhat, sign) for d in (0 * dy + 1, dy))
    empty, error = np.abs(ones).max(), np.abs(other - dx).max()
    print(f"v's term x {sign:2}: error {empty:.0e} with ones, {error:.0e} with dy")
    assert empty < rounding and (error < rounding) == (sign == 1)
assert mg.check_gradients(mg.BatchNorm(), (C,)).ok
b, rate = np.zeros(C), 0.01
for _ in range(steps):  # on the loss sum (y - 1)^2 / 2, by dx = gamma s dy
    _, s_b, xhat_b = forward(x + b)
    b -= rate * (gamma * s_b * (gamma * xhat_b - 1)).sum(0)
print(f"b moved by {b.round(1)}, xhat by {np.abs(xhat_b - xhat).max():.0e}")
assert np.abs(xhat_b - xhat).max() < rounding * b.max()
assert np.abs(b / (steps * rate * m * gamma * s) - 1).max() < rounding * b.max()

# %% [markdown]
# ## Inference, and the batches of D
# In inference they *are* constants, running means, moved by
# [commit](<../minigan/layers/norm.py#moving += (1 - self.momentum) * (batch - moving)>). And a D
# whose real and fake images come [in two batches](<../minigan/gan.py#def separate_step>) (ganhacks,
# 2016) does not see their mean and contrast; [in one](<../minigan/gan.py#def joint_step>) it does.

# %%
for _ in range(20):
    layer.commit(cache)
_, cache = layer.forward(mg.asarray(x), training=False)
dx_run = mg.to_numpy(layer.backward(mg.asarray(dy), cache)[0])
moving = np.array([mg.to_numpy(a) for a in layer.state.values()])
start, batch = np.array([[0], [1]]), np.array([mean, s**-2 - epsilon])
assert np.abs(moving - batch - 0.9**20 * (start - batch)).max() < rounding
assert np.abs(dx_run - gamma * (moving[1] + epsilon) ** -0.5 * dy).max() < rounding
fake = 5 + 3 * x
apart = np.abs(forward(fake)[2] - xhat).max()
both = forward(np.concatenate([x, fake]))[2].reshape(2, m, C).mean(1)
print(f"apart: {apart:.1e}; in one batch: {(both[1] - both[0]).round(2)}")
assert apart < epsilon * (s**2 * np.abs(xhat)).max() and (both[1] - both[0]).min() > 1
