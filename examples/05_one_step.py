# %% [markdown]
# # 5. One adversarial step, kernels only
#
# One step of `mg.GAN` in plain functions that call the kernels, equal to the library's to the bit.

# %%
import lesson
import numpy as np

import minigan as mg
from minigan.kernels import cpu, geometry, ops

quick, show = lesson.start("05_one_step")
BATCH, LATENT, STEPS = (16, 8, 20) if quick else (64, 32, 3000)
half = {"kernel_size": 4, "strides": 2, "padding": "same"}
up = [mg.Reshape((7, 7, 32)), mg.Conv2DTranspose(1, activation="tanh", **half)]
down = [mg.Conv2D(32, **half), mg.LeakyReLU(0.2), mg.Flatten(), mg.Dense(1)]
generator = mg.Sequential([mg.Dense(1568), mg.LeakyReLU(0.2), *up], input_shape=(LATENT,))
discriminator = mg.Sequential(down, input_shape=(14, 14, 1))

# %% [markdown]
# The [loss](<../minigan/losses.py#value = ((largest - target * logits) + rest).mean()>) of logits
# $\ell$ with the target $t$ (Goodfellow et al., 2014), and Adam in
# [the order](<../minigan/optimizers.py#lr * math.sqrt(c2) / c1, 1.0>) of Kingma and Ba (2015):
#
# $$ L = \frac1N \sum (\max(\ell, 0) - t \ell + \log(1 + e^{-|\ell|})), \quad
#    d\ell = \frac{\sigma(\ell) - t}{N} $$
#
# $$ m \gets m + (1 - \beta_1)(g - m), \;\; v \gets v + (1 - \beta_2)(g^2 - v) $$
#
# $$ p \gets p - \eta \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t} \frac{m}{\sqrt v + \epsilon} $$

# %%
ETA, BETA_1, BETA_2, EPSILON = 2e-4, 0.5, 0.999, 1e-7
k = ops(mg.asarray([0.0]))  # the kernels of the backend in use
geo = geometry.Geometry(*[geometry.axis(14, 4, 2, "same")] * 2)  # 14x14 pixels and 7x7


def cross_entropy(logits, t):
    terms = (np.maximum(logits, 0) - t * logits) + np.log1p(np.exp(-np.abs(logits)))
    return terms.mean(), (k.sigmoid(logits) - t) / logits.size


def adam(params, grads, moments, t):
    rate = ETA * float(np.sqrt(1 - BETA_2**t)) / (1 - BETA_1**t)
    for p, g, (m, v) in zip(params, grads, moments, strict=True):
        m += (1 - BETA_1) * (g - m)
        v += (1 - BETA_2) * (g * g - v)
        p -= rate * (m / (np.sqrt(v) + EPSILON))


# %% [markdown]
# **D** goes down by a [convolution](<../minigan/layers/conv.py#ops(x).conv2d(x, k, self.geometry)>)
# $*$; [$\star$](<../kernels/cpu/conv.py#def conv2d_dkernel>) adds, for each tap, the pixels that it
# pairs. With $\lambda$ for LeakyReLU, and $d$ for "gradient of":
#
# $$ \begin{array}{l} a = \lambda(K * x + b), \quad \ell = a w + c; \\ ds = \lambda'(a)\, (d\ell\,
#    w^\top), \\ dK = x \star ds, \quad db = \sum ds, \quad dw = a^\top d\ell \end{array} $$


# %%
def judge(D, x, target):
    K, b, w, c = D
    a = k.leaky_relu(k.add_bias(k.conv2d(x, K, geo), b), 0.2)
    loss, dl = cross_entropy(k.add_bias(k.matmul(a.reshape(len(x), -1), w), c), target)
    return loss, a, dl, k.leaky_relu_backward(k.matmul(dl, w.T).reshape(a.shape), a, 0.2)


def update_d(D, moments, x, target, t):
    loss, a, dl, ds = judge(D, x, target)
    dK, dw = k.conv2d_dkernel(x, ds, geo), k.matmul(a.reshape(len(x), -1).T, dl)
    adam(D, [dK, k.column_sums(ds), dw, k.column_sums(dl)], moments, t)
    return loss


# %% [markdown]
# **G** goes up by the [adjoint](<../minigan/layers/conv.py#ops(y).conv2d_adjoint>) $⊛$.
# Through D, which stands still, comes [$dx$](<../minigan/gan.py#D.backward(dlogits, d_cache>):
#
# $$ \begin{array}{l} h = \lambda(z W + b), \; x = \tanh(K ⊛ h + c); \\ dx = K_D ⊛ ds, \; du =
#    (1 - x^2) dx, \\ dr = \lambda'(h)(K * du), \; dK = du \star h, \; dW = z^\top dr \end{array} $$


# %%
def generate(G, z):
    W, b, K, c = G
    h = k.leaky_relu(k.add_bias(k.matmul(z, W), b), 0.2).reshape(-1, 7, 7, 32)
    return h, k.tanh(k.add_bias(k.conv2d_adjoint(h, K, geo), c))


def update_g(G, D, moments, z, t):
    h, x = generate(G, z)
    loss, _, _, ds = judge(D, x, 1.0)
    du = k.tanh_backward(k.conv2d_adjoint(ds, D[0], geo), x)
    dr = k.leaky_relu_backward(k.conv2d(du, G[2], geo), h, 0.2).reshape(len(z), -1)
    dW, dK = k.matmul(z.T, dr), k.conv2d_dkernel(du, h, geo)
    adam(G, [dW, k.column_sums(dr), dK, k.column_sums(du)], moments, t)
    return loss


# %% [markdown]
# [The step](<../minigan/gan.py#def separate_step>): D on real images, D on fakes, G on new latents.
# Equal operations in equal order round equally, in fused layers and in Adam on one long vector too:
# on one machine the two have the same bits. Both have others with another library for products,
# number of threads, or kernels ([Cook and Toom](<../kernels/cpu/toom.py#def convolve>)). A GPU
# rounds $ab + c$ once where both are in one kernel: sums differ by at most
# $n \varepsilon \sum |\text{term}|$, Adam's by that times $\eta \sqrt{1 - \beta_2} / \epsilon$.

# %%
digits = mg.datasets.digits()[0].reshape(-1, 14, 2, 14, 2, 1).mean(axis=(2, 4)) / 127.5 - 1
bound = ETA * np.sqrt(1 - BETA_2) / EPSILON * (196 * BATCH * 2.2e-16 * 100)  # |terms|: below 100
for dtype, steps in ("float64", 1), ("float32", STEPS):
    gan = mg.GAN(generator.astype(dtype), discriminator.astype(dtype))
    theirs = [*gan.generator.params.values(), *gan.D.params.values()]
    ours = [p.copy() for p in theirs]
    moments = [np.zeros_like(p, shape=(2, *p.shape)) for p in theirs]
    rng = np.random.default_rng(0)
    for t in range(1, steps + 1):
        real = mg.asarray(digits[rng.integers(len(digits), size=BATCH)], dtype)
        z_d, z_g = mg.asarray(rng.standard_normal((2, BATCH, LATENT)), dtype)
        logs = gan.train_step(real, latents=(z_d, z_g))
        d_loss = update_d(ours[4:], moments[4:], real, 1.0, 2 * t - 1)
        d_loss += update_d(ours[4:], moments[4:], generate(ours[:4], z_d)[1], 0.0, 2 * t)
        g_loss = update_g(ours[:4], ours[4:], moments[:4], z_g, t)
        assert k is not cpu or (logs["d_loss"], logs["g_loss"]) == (d_loss, g_loss)
    for a, b in zip(map(mg.to_numpy, ours), map(mg.to_numpy, theirs), strict=True):
        assert np.array_equal(a, b) or k is not cpu and (steps > 1 or np.abs(a - b).max() < bound)
    print(f"{dtype}, step {t}: D's loss {float(d_loss):.6f}, G's {float(g_loss):.6f}")
fakes = mg.to_numpy(gan.generator.predict(z_d)).repeat(4, axis=1).repeat(4, axis=2)
show("digits.png", mg.image_grid(fakes, columns=16))
