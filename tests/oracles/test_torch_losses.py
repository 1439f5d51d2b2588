"""Every loss beside PyTorch in float64, over random predictions and at the limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigan as mg

from .compare import close
from .torch_helpers import FEW, batches, normal, seeds, tensor

pytestmark = pytest.mark.oracle


@FEW
@given(seeds, st.sampled_from([(1,), (5, 1), (3, 4), (2, 3, 2)]))
def test_losses_of_elements(torch, seed, shape):
    rng = np.random.default_rng(seed)
    F = torch.nn.functional
    logits, target = 4 * normal(rng, *shape), rng.random(shape)
    beyond = target * 1.4 - 0.2  # targets may leave [0, 1]
    p = 1 / (1 + np.exp(-logits))
    for name, loss, prediction, t, theirs in [
        (
            "BCE logits",
            mg.BCE(from_logits=True),
            logits,
            target,
            F.binary_cross_entropy_with_logits,
        ),
        (
            "BCE logits",
            mg.BCE(from_logits=True),
            logits,
            beyond,
            F.binary_cross_entropy_with_logits,
        ),
        ("BCE", mg.BCE(), p, target, F.binary_cross_entropy),
        ("BCE", mg.BCE(), p, np.round(target), F.binary_cross_entropy),
        ("MSE", mg.MSE(), logits, target, F.mse_loss),
    ]:
        value, dprediction = loss(prediction, t)
        leaf = tensor(torch, prediction)
        expected = theirs(leaf, torch.tensor(t))
        close(name, "value", value, expected.detach())
        usual = 0.1 / prediction.size
        close(name, "dprediction", dprediction, *torch.autograd.grad(expected, leaf), terms=usual)


def test_losses_at_their_limits(torch):
    """Where a probability is 0 or 1, and where a logit is huge."""
    F = torch.nn.functional
    for t in (np.zeros(6), np.ones(6), np.full(6, 0.3)):
        p = np.array([0.0, 1.0, 1e-20, 1 - 1e-16, 1e-9, 0.5])
        value, dp = mg.BCE()(p, t)
        leaf = tensor(torch, p)
        expected = F.binary_cross_entropy(leaf, torch.tensor(t))
        close("BCE", "value", value, expected.detach())
        # PyTorch holds p (1-p) above 1e-12 in single precision, which is 4e-9 from 1e-12
        close("BCE", "limits", dp, *torch.autograd.grad(expected, leaf), 1e-8)
        logits = np.array([0.0, 40.0, -40.0, 800.0, -800.0, 1e-8])
        value, dl = mg.BCE(from_logits=True)(logits, t)
        leaf = tensor(torch, logits)
        expected = F.binary_cross_entropy_with_logits(leaf, torch.tensor(t))
        close("BCE logits", "value", value, expected.detach())
        close("BCE logits", "limits", dl, *torch.autograd.grad(expected, leaf))


@pytest.mark.parametrize("logit", [5.0, 10.0, 20.0, 30.0, 40.0, 100.0])
def test_loss_of_a_confident_discriminator(torch, logit):
    """A loss near zero has all its digits, on either side, of a logit and of a probability."""
    F = torch.nn.functional
    exact = np.log1p(np.exp(-logit))
    for prediction, target in ((logit, 1.0), (-logit, 0.0)):
        value, _ = mg.BCE(from_logits=True)(np.array([prediction]), np.array([target]))
        close("BCE logits", "small value", value, exact)
    # PyTorch has the digits on this side only: for -logit and 0 it subtracts two large numbers
    theirs = F.binary_cross_entropy_with_logits(torch.tensor([logit]), torch.ones(1))
    close("BCE logits", "small value", exact, theirs)
    p = np.array([np.exp(-logit)])
    value, _ = mg.BCE()(p, np.zeros(1))
    close("BCE", "small value", value, F.binary_cross_entropy(torch.tensor(p), torch.zeros(1)))


@FEW
@given(seeds, batches, st.integers(2, 6), st.booleans())
def test_cross_entropy(torch, seed, n, classes, labels):
    rng = np.random.default_rng(seed)
    F = torch.nn.functional
    logits = 3 * normal(rng, n, classes)
    soft = rng.random((n, classes))
    soft /= soft.sum(1, keepdims=True)
    target = rng.integers(classes, size=n) if labels else soft
    value, dlogits = mg.CrossEntropy(from_logits=True)(logits, target)
    leaf = tensor(torch, logits)
    expected = F.cross_entropy(leaf, torch.tensor(target))
    close("CrossEntropy logits", "value", value, expected.detach())
    found = torch.autograd.grad(expected, leaf)
    close("CrossEntropy logits", "dprediction", dlogits, *found, terms=0.1 / n)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    value, dp = mg.CrossEntropy()(p, target)
    leaf = tensor(torch, p)
    if labels:
        expected = F.nll_loss(torch.log(leaf), torch.tensor(target))
    else:
        expected = -(torch.tensor(target) * torch.log(leaf)).sum() / n
    close("CrossEntropy", "value", value, expected.detach())
    close("CrossEntropy", "dprediction", dp, *torch.autograd.grad(expected, leaf))
