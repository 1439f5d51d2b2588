"""Every optimizer that PyTorch has too, beside it in float64."""

from __future__ import annotations

import numpy as np
import pytest

import minigan as mg

from .compare import close
from .torch_helpers import normal, tensor

pytestmark = pytest.mark.oracle


@pytest.mark.parametrize("scale", [1.0, 1e-7, 1e4])
@pytest.mark.parametrize(
    "name, make, theirs",
    [
        (
            "Adam torch",
            lambda: mg.Adam(3e-3, beta_1=0.5, beta_2=0.999, form="torch"),
            lambda t, p: t.optim.Adam(p, 3e-3, (0.5, 0.999), 1e-8),
        ),
        (
            "Adam torch",
            lambda: mg.Adam(1e-5, beta_1=0.9, beta_2=0.99, epsilon=1e-6, form="torch"),
            lambda t, p: t.optim.Adam(p, 1e-5, (0.9, 0.99), 1e-6),
        ),
        ("SGD", lambda: mg.SGD(0.1), lambda t, p: t.optim.SGD(p, 0.1)),
        (
            "SGD momentum",
            lambda: mg.SGD(0.1, momentum=0.9),
            lambda t, p: t.optim.SGD(p, 0.1, momentum=0.9),
        ),
        (
            "RMSprop",
            lambda: mg.RMSprop(1e-3, rho=0.9, epsilon=1e-7),
            lambda t, p: t.optim.RMSprop(p, 1e-3, 0.9, 1e-7),
        ),
    ],
)
def test_optimizers(torch, name, make, theirs, scale):
    """Twenty steps on random gradients, some of them zero; the rate halves on the way."""
    rng = np.random.default_rng(0)
    params = {"a": normal(rng, 3, 4), "b": normal(rng, 5)}
    tensors = {k: tensor(torch, v) for k, v in params.items()}
    ours, oracle = make(), theirs(torch, list(tensors.values()))
    start = {k: v.copy() for k, v in params.items()}
    for step in range(20):
        if step == 10:
            ours.learning_rate /= 2
            oracle.param_groups[0]["lr"] /= 2
        grads = {k: scale * normal(rng, *v.shape) for k, v in params.items()}
        if step % 3 == 0:
            grads["b"][:2] = 0
        ours.step(params, grads)
        for k, g in grads.items():
            tensors[k].grad = torch.tensor(g)
        oracle.step()
        for k, v in params.items():
            moved = tensors[k].detach().numpy() - start[k]
            close(name, "moved", v - start[k], moved, 1e-9)
            close(name, "parameter", v, tensors[k].detach())
