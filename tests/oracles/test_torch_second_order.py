"""Second order beside PyTorch's double backward in float64: tangents, and D's whole step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigan as mg
from tests.gan_helpers import UPDATES, seen_by_d

from .compare import close
from .torch_critics import leaves_of, model_forward
from .torch_helpers import FEW, normal, seeds, tensor

pytestmark = pytest.mark.oracle

LIMIT = 1e-10
SHAPE = (6, 5, 2)

NORMS = {
    "none": lambda: mg.Tanh(),
    "batch": mg.BatchNorm,
    "layer": mg.LayerNorm,
    "sample": lambda: mg.LayerNorm(over="sample"),
    "instance": mg.InstanceNorm,
    "pixel": lambda: mg.PixelNorm(epsilon=1e-3),
}
ACTIVATIONS = {"leaky": lambda: mg.LeakyReLU(0.2), "silu": mg.SiLU, "sigmoid": mg.Sigmoid}
RESIZING = {
    "pooling": lambda: mg.AveragePooling2D(2),
    "halved": lambda: mg.Resampling2D(0.5),
    "doubled": lambda: mg.Resampling2D((1, 2)),
    "transposed": lambda: mg.Conv2DTranspose(4, 3, strides=2, groups=2, activation="silu"),
}
names = st.tuples(*(st.sampled_from(list(table)) for table in (NORMS, ACTIVATIONS, RESIZING)))


def critic(rng, norm, activation, resizing, seed=0):
    """Grouped and strided convolutions, a norm, an activation, a change of size, a dense head."""
    model = mg.Sequential(
        [mg.Conv2D(4, 3, padding="same", groups=2), NORMS[norm](), ACTIVATIONS[activation](),
         RESIZING[resizing](), mg.Conv2D(4, (2, 3), strides=(1, 2), padding="same"),
         NORMS[norm](), mg.LeakyReLU(0.3), mg.Flatten(), mg.Dense(5, activation="silu"),
         mg.Dense(1)],
        input_shape=SHAPE, dtype="float64", key=mg.random.Key(seed, "critic"),
    )  # fmt: skip
    for p in model.params.values():
        p += normal(rng, *p.shape) / (5 if p.ndim == 1 else p.size**0.5)
    model.state.flat += rng.random(model.state.flat.shape)
    return model


def assert_all_close(name, found, expected):
    """Arrays by name, on the scale of the largest of them: of some only rounding is left."""
    largest = max(float(t.abs().max()) for t in expected.values())
    assert found.keys() == expected.keys()
    for key, t in expected.items():
        close(name, key, found[key], t.detach(), LIMIT, terms=largest)


@FEW
@given(seeds, names, st.booleans())
def test_tangents(torch, seed, names, training):
    """ty, ddx and dgradients from derivatives of S = dx . tx + y . ddy, dx = d(y . dy)/dx."""
    rng = np.random.default_rng(seed)
    model = critic(rng, *names)
    x, tx = normal(rng, 3, *SHAPE), normal(rng, 3, *SHAPE)
    y, cache = model.forward(x, training=training)
    dy, ddy = normal(rng, *y.shape), normal(rng, *y.shape)
    found = {"ty": model.tangent(tx, cache)}
    found["ddx"], dgrads = model.backward_tangent(dy, ddy, tx, cache)

    leaves, t = leaves_of(torch, model), tensor(torch, x)
    weights = tensor(torch, dy)
    logits = model_forward(torch, model, t, leaves, training)
    close("second order", "y", y, logits.detach(), LIMIT)
    dx = torch.autograd.grad((logits * weights).sum(), t, create_graph=True)[0]
    total = (dx * torch.tensor(tx)).sum() + (logits * torch.tensor(ddy)).sum()
    inputs = {"ty": weights, "ddx": t} | leaves
    expected = torch.autograd.grad(total, list(inputs.values()))
    assert_all_close("second order", found | dgrads, dict(zip(inputs, expected, strict=True)))


def penalty_of(torch, kind, logits, x, rows=slice(None)):
    """E[(|g| - 1)^2] or E[|g|^2]/2 of g = d(sum of logits)/dx, differentiable again."""
    g = torch.autograd.grad(logits.sum(), x, create_graph=True)[0][rows]
    size = g.flatten(1).norm(dim=1)
    return ((size - 1) ** 2).mean() if kind == "wgan-gp" else (size**2).mean() / 2


LOSSES = {  # D's, of its logits on real images and fakes
    "wasserstein": lambda F, r, f: f.mean() - r.mean(),
    "hinge": lambda F, r, f: F.relu(1 - r).mean() + F.relu(1 + f).mean(),
    "least_squares": lambda F, r, f: (F.mse_loss(r, 1 + 0 * r) + F.mse_loss(f, 0 * f)) / 2,
    "non_saturating": lambda F, r, f: F.softplus(-r).mean() + F.softplus(f).mean(),
    "relativistic_pairing": lambda F, r, f: F.softplus(f - r).mean(),
}
RECIPES = [
    ("wasserstein", {"wgan-gp": 10.0}),
    ("hinge", {"wgan-gp": 2.0, "r1": 3.0}),
    ("least_squares", {"r2": 5.0}),
    ("non_saturating", {"r1": 10.0}),
    ("relativistic_pairing", {"r1": 4.0, "r2": 4.0}),
]


def gan_of(rng, update, objective, penalties, names):
    generator = mg.Sequential(
        [mg.Dense(60, activation="tanh"), mg.Reshape(SHAPE)], input_shape=(4,), dtype="float64"
    )
    penalty = [{"kind": kind, "weight": weight} for kind, weight in penalties.items()]
    return mg.GAN(
        generator, critic(rng, *names), update=update, objective=objective, penalty=penalty, seed=1
    )


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("objective, penalties", RECIPES)
def test_ds_step(torch, objective, penalties, update, norm, monkeypatch):
    """The losses and the gradient of all D's parameters, of the batches that D saw."""
    update = "joint" if (objective, update) == ("relativistic_pairing", "separate") else update
    rng = np.random.default_rng(2)
    gan = gan_of(rng, update, objective, penalties, (norm, "silu", "pooling"))
    seen, grads = seen_by_d(gan, monkeypatch)["D"], []
    gan.update_d = lambda found, *_: grads.append({k: g.copy() for k, g in found.items()})
    logs = gan.train_step(normal(rng, 4, *SHAPE))
    batches = [tensor(torch, s["x"]) for s in seen]

    leaves = leaves_of(torch, gan.D)

    def judged(x):
        return model_forward(torch, gan.D, x, leaves)

    n, both = 4, judged(batches[0])
    if update == "joint":
        real, fake = both[:n], both[n:]
        places = {"r1": (both, batches[0], slice(n)), "r2": (both, batches[0], slice(n, None))}
    else:
        real, fake = both, judged(batches[1])
        places = {"r1": (real, batches[0]), "r2": (fake, batches[1])}
    between = batches[1 if update == "joint" else 2] if "wgan-gp" in penalties else batches[0]
    places["wgan-gp"] = judged(between), between
    penalty = sum(w * penalty_of(torch, kind, *places[kind]) for kind, w in penalties.items())
    d_loss = LOSSES[objective](torch.nn.functional, real, fake) + penalty

    close("D's step", "penalty", np.float64(logs["penalty"]), penalty.detach(), LIMIT)
    close("D's step", "d_loss", np.float64(logs["d_loss"]), d_loss.detach(), LIMIT, terms=1)
    expected = torch.autograd.grad(d_loss, list(leaves.values()))
    found = {k: sum(g[k] for g in grads) for k in leaves}
    assert_all_close("D's step", found, dict(zip(leaves, expected, strict=True)))


def test_spectral_norm_between(torch):
    """The penalised gradient of a critic whose kernels are divided by their singular value."""
    rng = np.random.default_rng(3)
    layers = [mg.SpectralNorm(mg.Conv2D(4, 3, groups=2)), mg.SiLU(), mg.Flatten()]
    d = mg.Sequential(
        [*layers, mg.SpectralNorm(mg.Dense(3, activation="tanh")), mg.Dense(1)],
        input_shape=SHAPE, dtype="float64",
    )  # fmt: skip
    x = normal(rng, 3, *SHAPE)
    for _ in range(2000):
        d.commit(d.forward(x)[1])
    logits, cache = d.forward(x)
    terms = [(mg.GradientPenalty(weight=3.0), slice(None))]
    grads, value = mg.penalties.penalised_backward(d, np.ones_like(logits), cache, terms)
    leaves, t = leaves_of(torch, d), tensor(torch, x)
    theirs = model_forward(torch, d, t, leaves)
    penalty = 3 * penalty_of(torch, "wgan-gp", theirs, t)
    close("SpectralNorm", "penalty", np.float64(value), penalty.detach(), LIMIT)
    expected = torch.autograd.grad(theirs.sum() + penalty, list(leaves.values()))
    assert_all_close("SpectralNorm", dict(grads), dict(zip(leaves, expected, strict=True)))
