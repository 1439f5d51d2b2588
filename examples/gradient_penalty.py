"""A gradient penalty without automatic differentiation, derived, checked and drawn.

    python examples/gradient_penalty.py [PICTURE] [--backend cupy]

Trains a GAN on a ring in the plane twice, without and with the penalty R1, and draws D's gradient
field g(x) = dD/dx, along which the fakes are pulled, into PICTURE (default gradient_penalty.png).
"""

import argparse

import matplotlib
import numpy as np

import minigan as mg

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.colors import LogNorm

parser = argparse.ArgumentParser()
parser.add_argument("picture", nargs="?", metavar="PICTURE", default="gradient_penalty.png")
parser.add_argument("--backend", choices=["numpy", "cupy", "auto"], help="where arrays live")
args = parser.parse_args()
if args.backend:
    mg.use(args.backend)

GAMMA = 0.1


def perceptron(inputs, outputs, name):
    hidden = [mg.Dense(64), mg.LeakyReLU(0.2), mg.Dense(64), mg.LeakyReLU(0.2)]
    return mg.Sequential([*hidden, mg.Dense(outputs)], input_shape=(inputs,), name=name)


def ring(n, rng):
    angle = rng.uniform(0, 2 * np.pi, (n, 1))
    return np.concatenate([np.cos(angle), np.sin(angle)], axis=1).astype("float32")


# 1. The penalty.  D's backward pass gives g(x_n) = dD(x_n)/dx_n for each point of a batch: start it
#    with dy = 1.  R1 is the mean square length of g on the real points,
#
#        P = gamma/2 * mean_n |g(x_n)|^2,        v_n = dP/dg(x_n) = gamma/N * g(x_n).


def penalty(D, x):
    logits, cache = D.forward(x)
    g, _ = D.backward(np.ones_like(logits), cache, wrt="input")
    return GAMMA / 2 * (g * g).sum(axis=1).mean(), GAMMA / len(x) * g, cache


# 2. Its gradient by D's parameters theta.  Hold v fixed: dP = sum_n v_n . dg(x_n), and so
#
#        dP/dtheta = d/dtheta [sum_n v_n . dD(x_n)/dx_n]
#                  = d/dtheta d/dh [sum_n D(x_n + h v_n)]   at h = 0
#                  = d/dh [dD/dtheta at x_n + h v_n],        since derivatives commute:
#
#    the parameter gradient that backward gives, differentiated as the input moves along v.  That is
#    `backward_tangent`: the product rule through both passes, written out layer by layer.


def penalty_gradient(D, x):
    _, v, cache = penalty(D, x)
    ones = np.ones((len(x), 1), x.dtype)
    _, dtheta = D.backward_tangent(ones, 0 * ones, v, cache, wrt="params")
    return dtheta


# 3. Believe it: the complex step, Im P(theta + ih u)/h = dP/dtheta . u, with h = 1e-20: on the
#    CPU, as complex numbers do not run on the GPU.


def check():
    D, rng = perceptron(2, 1, "critic").to("numpy").astype("float64"), np.random.default_rng(0)
    x = ring(32, rng).astype("float64")
    u = {name: rng.standard_normal(p.shape) for name, p in D.params.items()}
    by_hand = sum((g * u[name]).sum() for name, g in penalty_gradient(D, x).items())
    twin = D.astype("complex128")
    for name, p in twin.params.items():
        p += 1e-20j * u[name]
    numeric = penalty(twin, x.astype("complex128"))[0].imag / 1e-20
    print(f"dP/dtheta along a random direction: {by_hand:.15f} by hand")
    print(f"                                    {numeric:.15f} by the complex step")


# 4. What it does.  Without it D stays steep on the ring itself, so that fakes which have arrived
#    are pushed on and across; with R1 the pull fades out towards the real points, where G may come
#    to rest (Mescheder et al., 2018).  Here G arrives either way; D's slope is what differs.


def train(kind):
    mg.seed(0)
    G, D = perceptron(2, 2, "generator"), perceptron(2, 1, "discriminator")
    adam = {"name": "adam", "learning_rate": 1e-3, "beta_1": 0.5}
    option = None if kind is None else mg.GradientPenalty(kind, weight=GAMMA)
    gan = mg.GAN(G, D, g_optimizer=adam, d_optimizer=adam, penalty=option, update="simultaneous")
    rng = np.random.default_rng(0)
    for _ in range(3000):
        gan.train_step(ring(128, rng))
    return gan


def field(D, x):
    logits, cache = D.forward(mg.asarray(x.astype("float32")))
    return mg.to_numpy(D.backward(np.ones_like(logits), cache, wrt="input")[0])


def draw(gans, path):
    side = np.linspace(-1.8, 1.8, 25)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    figure, panels = plt.subplots(1, len(gans), figsize=(5 * len(gans), 5), layout="constrained")
    scale = LogNorm(0.05, 10)  # of |g|, in both panels
    real = ring(200, np.random.default_rng(1))
    for axes, (label, gan) in zip(panels, gans.items(), strict=True):
        g, fakes = field(gan.D, grid), gan.sample(200)
        steep = np.linalg.norm(field(gan.D, real), axis=1).mean()
        off = np.abs(np.linalg.norm(fakes, axis=1) - 1).mean()
        length = np.linalg.norm(g, axis=1, keepdims=True)
        arrows = axes.quiver(*grid.T, *(g / length).T, length, norm=scale, cmap="viridis", scale=35)
        axes.plot(*real.T, "k.", markersize=3, label="real")
        axes.plot(*fakes.T, "r.", markersize=3, label="fake")
        axes.set(title=label, aspect="equal", xlim=(-1.9, 1.9), ylim=(-1.9, 1.9))
        axes.legend(loc="upper right")
        print(f"{label:<12} |dD/dx| on the ring {steep:.2f}, fakes {off:.3f} off the ring")
    figure.colorbar(arrows, ax=panels, label="|dD/dx|", shrink=0.8)
    figure.savefig(path, dpi=70, metadata={"Software": None})


check()
draw({"no penalty": train(None), "with R1": train("r1")}, args.picture)
