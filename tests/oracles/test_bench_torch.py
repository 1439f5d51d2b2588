"""The networks that `minigan bench` times in PyTorch are ours, seen in a mirror."""

from __future__ import annotations

import numpy as np
import pytest

from minigan.run.bench import BATCHES, too_far

pytestmark = pytest.mark.oracle


@pytest.mark.parametrize("name", BATCHES)
def test_steps_have_the_same_losses_and_move_the_parameters_alike(torch, name, capsys):
    import json

    from minigan.run.bench_torch import TorchGAN, mirrored
    from minigan.run.bench_worker import check, latent_pair, make_gan, real_batch

    gan, rng = make_gan(name, dropout=0.0), np.random.default_rng(0)
    theirs = TorchGAN(gan)
    real, (z_d, z_g) = real_batch(gan, 6, rng), latent_pair(gan, 6, rng)
    losses = theirs.train_step(mirrored(real), torch.from_numpy(z_d), torch.from_numpy(z_g))
    logs = gan.train_step(real, latents=(z_d, z_g))
    np.testing.assert_allclose(losses, [logs["d_loss"], logs["g_loss"]], rtol=2e-5)
    check(name, 6)
    assert not too_far(json.loads(capsys.readouterr().out))


def test_adam_is_that_of_the_recipe(torch):
    from minigan.run.bench_torch import TorchGAN
    from minigan.run.bench_worker import make_gan

    gan = make_gan("mlp_digits")
    for adam in ("fused", "foreach"):
        for optimizer in TorchGAN(gan, adam=adam).optimizers:
            (group,) = optimizer.param_groups
            assert group["lr"] == 1e-5 and group["betas"] == (0.9, 0.999) and group[adam]


def test_a_planted_fault_is_found(torch, monkeypatch, capsys):
    """A wrong gradient, in float32 and float64 alike."""
    import json

    from minigan.layers.dense import Dense
    from minigan.run.bench_worker import check

    right = Dense.product_dkernel
    monkeypatch.setattr(Dense, "product_dkernel", lambda *args: -right(*args))
    check("mlp_digits", 6)
    assert too_far(json.loads(capsys.readouterr().out))
