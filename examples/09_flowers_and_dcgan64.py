# %% [markdown]
# # 9. Flowers, and images of 64 pixels
#
# A DCGAN for colour images of 64×64: its rules, two ways to double a map, and a run that is cut off
# and goes on to the same bits. It learns flowers that the lesson draws; with the environment
# variable `MINIGAN_PHOTOS=FOLDER`, the photographs of a folder.

# %%
import os
import shutil
import tempfile

import lesson
import numpy as np

import minigan as mg
from minigan.run import features, metrics

quick, show = lesson.start("09_flowers_and_dcgan64")
count, epochs, width, batch = (40, 2, 4, 8) if quick else (800, 30, 16, 16)

# %% [markdown]
# ## Five kinds of rose
#
# A rose curve $r = |\cos k\theta|$ has $2k$ petals. A pixel $(r, \theta)$ is inside an edge $R$ to
# the degree $\sigma(32 (R(\theta) - r))$. Turn, size, place, depth and tint vary.

# %%
PETALS = np.array([3, 4, 5, 6, 8])
TINTS = np.array([[230, 40, 70], [240, 225, 240], [240, 180, 30], [140, 80, 220], [240, 120, 190]])
VARIES = [[0, 0.6, -0.2, -0.2, 0.5], [6.3, 1.0, 0.2, 0.2, 0.8]]


def flowers(n, rng):
    kind, noise = rng.integers(5, size=n), rng.normal(0, 12, (2, n, 1, 1, 3))
    turn, size, right, down, depth = rng.uniform(*VARIES, (n, 5)).T[..., None, None]
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    r, theta = np.hypot(x - right, y - down), np.arctan2(y - down, x - right)
    rose = np.abs(np.cos(PETALS[kind, None, None] / 2 * theta + turn))
    petal = (TINTS[kind, None, None] + noise[0]) * (0.6 + 0.4 * r / size)[..., None]
    image = [40, 95, 35] + noise[1]
    for edge, tint in ((size * (1 - depth + depth * rose), petal), (0.18 * size, [240, 205, 60])):
        image = image + (tint - image) / (1 + np.exp(32 * (r - edge)))[..., None]
    return (image + rng.normal(0, 4, image.shape)).clip(0, 255).astype("uint8")


photos, rng = os.environ.get("MINIGAN_PHOTOS"), np.random.default_rng(0)
images = mg.datasets.folder(photos, size=64)[0] if photos else flowers(count, rng)
images = images[:count] if quick else images
show("images.png", mg.image_grid(images[:: max(1, len(images) // 40)][:40], columns=10))

# %% [markdown]
# ## The network
#
# The rules of Radford et al. (2016): strides in place of pooling, no hidden dense layers, BatchNorm
# except at G's images and D's first layer, ReLU in G and $\tanh$ at its end, LeakyReLU in D.
# [Here](<../minigan/models.py#def _dcgan>) G doubles 4×4 up to 64×64, D halves; widths go the
# other way. A layer of $k \times k$ taps has $k^2 c_{in} c_{out}$ weights and $c_{out}$ biases.
# [dcgan64](<../minigan/models.py#def dcgan64>), for grey images, starts with $z$ as a map of 1×1.

# %%
G, D = mg.models.dcgan(size=64, channels=3, width=width, seed=0)
print(G.summary())
for layer in [*G.layers, *D.layers]:
    if isinstance(layer, mg.Conv2D | mg.Conv2DTranspose):
        (a, b, c_in), (c, d, c_out) = layer.input_shape, layer.output_shape
        assert a / c == b / d == (0.5 if isinstance(layer, mg.Conv2DTranspose) else 2)
        assert sum(p.size for p in layer.params.values()) == 4 * 4 * c_in * c_out + c_out

# %% [markdown]
# ## Two ways to double
#
# A transposed convolution of stride 2 spreads a pixel over $k \times k$ taps. With $k = 3$ pixels
# of the result get 1, 2 or 4 of them, a chequerboard before any training (Odena et al., 2016); with
# $k = 4$ all get 4. To repeat pixels $2 \times 2$ times and then convolve is even too. It is itself
# [a transposed convolution](<../minigan/layers/upsampled.py#F[u, b]    = sum over>), with 9 free
# weights for 16: $K$, 0 beyond its taps, turned half around and summed over the four repeats,
#
# $$ F_{tu} = \sum_{i, j \in \{0, 1\}} K_{2 - t + i,\; 2 - u + j} . $$


# %%
def through(x, K, *layers):
    net = mg.Sequential(layers, input_shape=(6, 6, 1))
    next(iter(net.params.values()))[...] = mg.asarray(K[..., None, None], "float32")
    return mg.to_numpy(net.predict(mg.asarray(x, "float32")))[0, ..., 0]


for k in (3, 4):
    doubled = mg.Conv2DTranspose(1, k, strides=2, padding="same")
    got = np.unique(through(np.ones((1, 6, 6, 1)), np.ones((k, k)), doubled)[2:-2, 2:-2])
    print(f"k = {k}: a pixel gets {got} taps")
    assert got.tolist() == ([1, 2, 4] if k == 3 else [4])
x, K, F = rng.integers(-9, 10, (1, 6, 6, 1)), rng.integers(-9, 10, (3, 3)), np.zeros((4, 4))
for i, j in np.ndindex(2, 2):
    F[i : i + 3, j : j + 3] += K[::-1, ::-1]
resized = through(x, K, mg.UpSampling2D(2), mg.Conv2D(1, 3, padding="same"))
assert (resized == through(x, F, mg.Conv2DTranspose(1, 4, strides=2, padding="same"))).all()

# %% [markdown]
# ## A run that is cut off
#
# The folder of a run holds [checkpoints](<../minigan/run/state.py#def save_state>): weights, Adam's
# moments, counts, but no random stream: each draw is
# [a function](<../minigan/random.py#return np.random.Philox(key=seed>) of seed, purpose and step.
# It is copied before the last epoch, as a power cut would leave it; the copy ends at the same bits.

# %%
changes = {"g_optimizer": mg.Adam(1e-3), "d_optimizer": mg.Adam(5e-4), "batch_size": batch}
gan, film = mg.GAN(G, D, **mg.recipes.dcgan | changes, seed=0), []
made = [gan.sample(len(images) // 2)]
with tempfile.TemporaryDirectory() as there:

    def look(epoch, gan, logs):
        film.append(mg.image_grid(gan.sample(16), columns=8))
        if epoch == epochs - 1:
            shutil.copytree(f"{there}/run", f"{there}/copy")

    mg.train(gan, images, epochs, f"{there}/run", look, progress=False, checkpoint_every=3)
    again, _ = mg.resume(f"{there}/copy", images, progress=False)
for name in ("generator", "discriminator", "sampler"):
    ours, theirs = (mg.to_numpy(getattr(g, name).params.flat) for g in (gan, again))
    assert (ours == theirs).all()
made = [np.rint(127.5 * (x + 1)).astype("uint8") for x in (*made, gan.sample(len(made[0])))]
judge = features.RandomFeatures((64, 64, 3))
real, *others = (judge.features(x) for x in (images[::2], images[1::2], *made))
floor, before, after = (metrics.frechet_distance(real, x) for x in others)
print(f"distance of half the images: to the others {floor:.3f}, G's {before:.2f}, then {after:.2f}")
assert floor < after and (quick or photos or after < before / 4)
show("training.gif", film)
