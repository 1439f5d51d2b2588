# %% [markdown]
# # 1. One neuron, one gradient
#
# The smallest network there is: one input $x$, one weight $w$, one bias $b$,
#
# $$ a = w x + b, \qquad y = \sigma(a) = \frac{1}{1 + e^{-a}}, \qquad L = \tfrac12 (y - t)^2 . $$

# %%
import lesson
import numpy as np

import minigan as mg

quick, show = lesson.start("01_one_gradient")
x, t = 1.7, 0.2


def loss(w, b):
    y = 1 / (1 + np.exp(-(w * x + b)))
    return (y - t) ** 2 / 2


# %% [markdown]
# ## By hand
#
# The chain rule, from the loss back to the weight, one factor a step. With
# $\sigma'(a) = \sigma(a)(1 - \sigma(a))$,
#
# $$ \frac{dL}{dw} = \frac{dL}{dy} \cdot \frac{dy}{da} \cdot \frac{da}{dw}
#    = (y - t) \cdot y (1 - y) \cdot x . $$
#
# Every backward pass of the library is such a product, with arrays in place of numbers:
# [Dense](<../minigan/layers/dense.py#return ops(dz).matmul(x.T, dz)>) has the last factor, and
# [Sigmoid](<../minigan/layers/activations.py#class Sigmoid>) the one before it.


# %%
def gradient(w, b):
    y = 1 / (1 + np.exp(-(w * x + b)))
    dy = y - t
    da = dy * y * (1 - y)
    return da * x


w, b = -0.4, 0.3
print(f"dL/dw = {gradient(w, b):.16f}")

# %% [markdown]
# ## Is it right?
#
# A number says: move $w$ a little and see. The central difference
#
# $$ \frac{L(w + h) - L(w - h)}{2h} = L'(w) + \frac{h^2}{6} L'''(w) + \dots $$
#
# has two enemies. A large $h$ leaves the term with $h^2$; a small one subtracts two numbers that
# are nearly equal, and loses their digits: the rounding $\epsilon \approx 10^{-16}$ of $L$
# becomes $\epsilon / h$. The best $h \approx \epsilon^{1/3}$ leaves some ten digits.
#
# Now move $w$ in the *imaginary* direction. By Taylor,
#
# $$ L(w + ih) = L(w) + ih L'(w) - \frac{h^2}{2} L''(w) - \frac{ih^3}{6} L'''(w) + \dots $$
#
# $$ \frac{\operatorname{Im} L(w + ih)}{h} = L'(w) - \frac{h^2}{6} L'''(w) + \dots $$
#
# Nothing is subtracted, so nothing is lost, and $h$ may be so small that $h^2$ vanishes beside 1.
# This is the engine of [the checker](<../minigan/numeric.py#class Numeric>).

# %%
steps = 10.0 ** -np.arange(1, 31)
exact = gradient(w, b)
central = [(loss(w + h, b) - loss(w - h, b)) / (2 * h) for h in steps]
complex_step = [loss(w + 1j * h, b).imag / h for h in steps]
errors = {
    "central difference": np.abs(np.array(central) / exact - 1),
    "complex step": np.abs(np.array(complex_step) / exact - 1),
}
difference, tiny = errors["central difference"], errors["complex step"][steps < 1e-8]
best = steps[difference.argmin()]
print(f"central difference: relative error {difference.min():.1e} at best, at h = {best:.0e}")
print(f"complex step: {tiny.max():.1e} at most, for each h from 1e-9 to 1e-30")

# %%
figure, [axes] = lesson.figure(side=5)
for name, error in errors.items():
    axes.loglog(steps, np.maximum(error, 1e-17), ".-", label=name)
axes.set(xlabel="h", ylabel="relative error of dL/dw", ylim=(3e-18, 10))
axes.legend()
show("error.png", figure)

# %% [markdown]
# ## Why 1e-20
#
# From $h = 10^{-8}$ down, $h^2$ is below $10^{-16}$ and the error is that of rounding alone; any
# smaller $h$ is as good, until $h L'$ itself leaves the range of a double, $10^{-308}$. The
# checker takes $10^{-20}$: then $h^2 L'''/6$ is harmless even where $L'''$ is $10^{20}$ times
# $L'$, and $L'$ may be as small as $10^{-280}$.

# %%
assert tiny.max() < 1e-15
assert difference.min() > 1e-13
assert abs(loss(w + 1e-20j, b).imag / 1e-20 / exact - 1) < 1e-15

# %% [markdown]
# The step has one demand: the formula must be *analytic*. No absolute value, no maximum, no
# complex conjugate may touch the number on its way; LeakyReLU, which has a kink, decides by the
# real part. The library is written so that it passes complex numbers through every layer.
#
# ## The same neuron, in the library
#
# `mg.check_gradients` takes a layer, draws inputs, weights and a random upstream gradient, and
# compares each gradient with the complex step: below, the worst relative error of each.

# %%
report = mg.check_gradients(mg.Dense(1, activation="sigmoid"), (1,))
print(report)
assert report.ok and report.max_error < 1e-12
