# %% [markdown]
# # 7. Digits without labels, and advice measured
#
# A plain DCGAN learns digits, and again with one piece of the literature's advice at a time: early
# training, and one seed. A second seed of the plain one shows what chance alone does. The network
# is that of [Radford et al. (2016)](<../minigan/models.py#def _dcgan>), narrow, with their Adam.

# %%
import warnings

import lesson
import numpy as np

import minigan as mg
from minigan.run import features, metrics, watch

quick, show = lesson.start("07_digits_and_tips")
width, epochs, every, judge_steps = (4, 1, 100, 3) if quick else (16, 3, 1, 300)
images, labels = mg.datasets.digits()
data, part = images[::every], max(4, every)


def make(batch_norm=True, rates=(2e-4, 2e-4), seed=0, **advice):
    mg.seed(seed)
    G, D = mg.models.dcgan(size=28, channels=1, width=width, latent_dim=64, dropout=0.0)
    if not batch_norm:
        half = {"strides": 2, "padding": "same", "kernel_initializer": "he_normal"}
        d = [mg.Conv2D(width, 4, **half), mg.LeakyReLU(0.2), mg.Conv2D(2 * width, 4, **half)]
        d += [mg.LeakyReLU(0.2), mg.Flatten(), mg.Dense(1)]
        D = mg.Sequential(d, input_shape=(28, 28, 1), name="discriminator")
    g_adam, d_adam = (mg.Adam(rate, beta_1=0.5) for rate in rates)
    return mg.GAN(G, D, g_optimizer=g_adam, d_optimizer=d_adam, ema=0.99, **advice)


# %% [markdown]
# ## The measure
#
# A classifier, trained on the spot, makes 64 features of an image. Gaussians of mean $m$ and
# covariance $S$, fitted to the features of images and of samples, have the Fréchet
# [distance](<../minigan/run/metrics.py#distance = difference @>) (Heusel et al., 2017)
#
# $$ |m_1 - m_2|^2 + \operatorname{tr}\big( S_1 + S_2 - 2 (S_1^{1/2} S_2 S_1^{1/2})^{1/2} \big) . $$
#
# Two more figures look for collapse: *digits*, $e^H$ with $H$ the entropy of the digits' shares, is
# 10 at most; *spread* is [how samples vary](<../minigan/run/watch.py#def spread>), images being 1.

# %%
judge = features.ClassifierFeatures((28, 28, 1), 10).train(images, labels, steps=judge_steps)
real, others = images[::part], images[part // 2 :: part]
target, varied = judge.features(real), watch.spread(real / 1, None)


def measure(pixels):
    found = judge.features(pixels)
    share = np.bincount(judge.read(found), minlength=10) / len(pixels)
    digits = np.exp(-sum(p * np.log(p) for p in share if p))
    return metrics.frechet_distance(target, found), digits, watch.spread(pixels / 1, None) / varied


# %% [markdown]
# ## The advice
#
# *Targets.* Where images have the density $p$ and fakes $q$, D's loss with targets $\alpha$ and
# $\beta$ is least at $\sigma(s) = (\alpha p + \beta q) / (p + q)$. Smoothing on one side alone,
# $\alpha = 0.9$, $\beta = 0$, calls no fake real (Salimans et al., 2016).
# [*Flips*](<../minigan/targets.py#flipped = rng>) of a share $f$ are $1 - f$ and $f$ in the mean.

# %%
alpha, beta, p, q = np.random.default_rng(0).uniform(0.01, 0.99, (4, 100, 1))
best = (alpha * p + beta * q) / (p + q)
s = np.log(best / (1 - best))
_, dreal, dfake = mg.NonSaturating().d_loss(s, s, real_target=alpha, fake_target=beta)
assert np.abs(p * dreal + q * dfake).max() < 8 * np.finfo(float).eps / 100  # a mean of 100

# %% [markdown]
# *Noise* [on all D sees](<../minigan/noise.py#return self.stddev * max>), fading, makes $p$ and $q$
# overlap (Sønderby et al., 2017; Arjovsky and Bottou, 2017). *Two rates*: D learns faster than G
# (Heusel et al., 2017). *R1*, [a penalty](<../minigan/penalties.py#return strength / 2 * squares>)
# $\gamma\, \mathbb{E} |\nabla_x D|^2 / 2$ on images, flattens a D without BatchNorm (Mescheder
# et al., 2018). *Averaging*, $\bar w \leftarrow \bar w + (1 - \lambda)(w - \bar w)$ of
# [G's weights](<../minigan/gan.py#average +=>), leaves training alone (Yazıcı et al., 2019): each
# run is measured without and with. The last two should fail: one side is far too fast.

# %%
r1, fading = mg.GradientPenalty("r1", weight=1), (0.3, epochs * (len(data) // 32))
runs = {
    "plain": {},
    "plain, another seed": {"seed": 1},
    "real targets 0.9": {"real_targets": (0.9, 0.9)},
    "5 % of labels flipped": {"flip_labels": 0.05},
    "noise": {"instance_noise": fading},
    "D's rate times 4": {"rates": (2e-4, 8e-4)},
    "D without BatchNorm": {"batch_norm": False},
    "D without BatchNorm, R1": {"batch_norm": False, "penalty": r1},
    "both rates times 5": {"rates": (1e-3, 1e-3)},
    "both times 5, noise": {"rates": (1e-3, 1e-3), "instance_noise": fading},
    "G far too fast": {"rates": (5e-3, 1e-5)},
    "D far too fast": {"rates": (2e-5, 5e-3)},
}
z = mg.asarray(np.random.default_rng(0).standard_normal((len(real), 64)), "float32")
table, drawn = [[measure(others)] * 2], [real[:: len(real) // 16][:16]]
print(f"{'':<25}distance  averaged    digits    spread\nreal{table[0][0][0]:29.2f}")
for name, advice in runs.items():
    gan = make(**advice)
    with warnings.catch_warnings(record=True) as signs:
        mg.train(gan, data, epochs, batch_size=32, progress=False)
    made = [127.5 * (mg.to_numpy(G.predict(z)) + 1) for G in (gan.generator, gan.sampler)]
    made = [np.rint(x).astype("uint8") for x in made]
    (distance, digits, of_images), (averaged, *_) = found = [measure(x) for x in made]
    print(f"{name:<25}{distance:8.2f}{averaged:10.2f}{digits:10.2f}{of_images:10.2f}")
    print(*(f"    {str(sign.message).split('. ')[0]}\n" for sign in signs), sep="", end="")
    table, drawn = [*table, found], [*drawn, made[0][:16]]

# %%
table = np.array(table)  # (runs, last weights and average, figures)
floor, plain, other = table[:3, 0, 0]
assert floor < table[1:, :, 0].min()
if not quick:
    assert table[9, 0, 0] < min(plain, other) - abs(plain - other)  # both rates times 5
    failed = table[-2:, 0]
    assert failed[:, 0].min() > table[:-2, 0, 0].max() and (failed[:, 1:] < (2, 0.5)).all()
figure, (bars, grid) = lesson.figure(columns=2, side=6)
for k, label in enumerate(("last weights", "average")):
    bars.barh(np.arange(13) - 0.2 + 0.4 * k, table[:, k, 0], 0.4, label=label)
bars.set(xscale="log", xlabel="Fréchet distance", ylim=(12.5, -0.5), yticks=range(13))
bars.set(yticklabels=["real images", *runs])
bars.legend()
grid.imshow(mg.image_grid(np.concatenate(drawn), 16), "gray", extent=(0, 16, 13, 0), aspect="auto")
grid.axis("off")
show("runs.png", figure)
