"""Optimizers: opt.step(params, grads) moves the parameters in place.

params and grads are dictionaries of the same keys.  A network's dictionaries are views into one
vector each, and are then updated in one pass.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import registry, schedules
from .flat import FlatDict
from .kernels import ops
from .layers.arguments import bound, one_of
from .schedules import Setting
from .spelling import Spelling

Array = Any


class Optimizer(metaclass=Spelling):
    """Base: subclasses name their moments and write `update`.

    learning_rate: a number, or a Cosine (minigan/schedules.py) of the GAN's steps, or, for who
        steps it without a GAN, of its own.
    global_clipnorm: None, or the largest norm of all gradients together, see `clipped`.
    Raises ValueError for a negative learning_rate, or a global_clipnorm that is not positive.
    """

    moments: tuple[str, ...] = ()

    def __init__(self, learning_rate: Setting, global_clipnorm: float | None = None) -> None:
        where = f"{type(self).__name__}: learning_rate"
        self.learning_rate = schedules.check(learning_rate, where, 0.0)
        self.global_clipnorm = bound(global_clipnorm, "global_clipnorm", type(self).__name__)
        self.t = self._at = 0
        self._moments: dict[str, FlatDict] = {}

    def step(
        self, params: dict[str, Array], grads: dict[str, Array], at: int | None = None
    ) -> None:
        """Move the parameters against their gradients, in place.

        params, grads: dictionaries of arrays with the same keys and shapes, at every call those of
        the first.  Raises ValueError where they are not.
        at: the step, from 0, that settings with a schedule are taken of; None: those taken so far.
        """
        self._check(params, grads)
        self._at = self.t if at is None else at
        if self.global_clipnorm is not None:
            grads = clipped(grads, self.global_clipnorm)
        self.t += 1
        for name in self.moments:
            found = self._moments.get(name)
            if found is None:
                self._moments[name] = FlatDict.laid_out_as(params, zeros=True)
            elif list(found) != list(params):  # read from a file that sorts its keys
                self._moments[name] = FlatDict.laid_out_as(params).fill(found)
        moments = [self._moments[name] for name in self.moments]
        flat = isinstance(params, FlatDict) and isinstance(grads, FlatDict)
        if flat and list(params) == list(grads):
            vectors: Any = [params, grads, *moments]
            self.update(*(v.flat for v in vectors))
        else:
            for name, p in params.items():
                self.update(p, grads[name], *(m[name] for m in moments))

    def update(self, p: Array, g: Array, *moments: Array) -> None:
        """Move the array p along its gradient g, and the moments of both, in place.

        Raises TypeError where a subclass does not define it.
        """
        raise TypeError(f"{type(self).__name__} does not define update()")

    def now(self, setting: Setting) -> float:
        """A setting, in the present step."""
        return schedules.at(setting, self._at)

    @property
    def state(self) -> dict[str, Any]:
        """{"t": steps taken, "<moment>.<param>": array}: live arrays."""
        arrays = {
            f"{moment}.{name}": array
            for moment, found in self._moments.items()
            for name, array in found.items()
        }
        return {"t": self.t, **arrays}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self.t = int(state["t"])
        self._moments = {}
        for moment in self.moments:
            found = {
                k[len(moment) + 1 :]: a for k, a in state.items() if k.startswith(moment + ".")
            }
            if found:
                self._moments[moment] = FlatDict.of(found)

    def config(self) -> dict[str, Any]:
        """The optimizer as JSON: its name and arguments."""
        own = ((k, v) for k, v in vars(self).items() if k not in ("t", "_at", "_moments"))
        arguments = {k: schedules.config(v) for k, v in own}
        return {"name": registry.name_of("optimizer", NAMES, self), **arguments}

    def _check(self, params: dict[str, Array], grads: dict[str, Array]) -> None:
        where = type(self).__name__
        if set(grads or {}) != set(params):
            odd = sorted(set(params) ^ set(grads or {}))
            raise ValueError(
                f"{where}: params and grads must have the same keys; only one has "
                f"{', '.join(odd[:5])}{' ...' if len(odd) > 5 else ''}"
            )
        for name, p in params.items():
            if grads[name].shape != p.shape:
                raise ValueError(
                    f"{where}: the gradient of {name} has shape {grads[name].shape}, "
                    f"the parameter {p.shape}"
                )
        for moment in self._moments.values():
            if set(moment) != set(params) or any(
                moment[name].shape != p.shape or moment[name].dtype != p.dtype
                for name, p in params.items()
            ):
                raise ValueError(f"{where}: these are not the parameters it has stepped before")


def clipped(grads: dict[str, Array], limit: float) -> FlatDict:
    """grads * min(1, limit / |grads|), |grads| the norm of all of them together: a copy.

    Pascanu et al. (2013), algorithm 1.
    """
    copy = FlatDict.of(grads)
    norm = (copy.flat * copy.flat).sum() ** 0.5
    copy.flat *= limit / np.maximum(norm, limit)
    return copy


class SGD(Optimizer):
    """p -= lr * g; with momentum mu: v = mu v + g, p -= lr * v  (PyTorch's form).

    Robbins and Monro (1951); the momentum is Polyak's (1964).
    Takes the arguments of Optimizer too: learning_rate, global_clipnorm.

        >>> params = {"bias": np.array([1.0, 2.0])}
        >>> mg.SGD(0.5).step(params, {"bias": np.array([1.0, 0.0])})
        >>> params["bias"].tolist()
        [0.5, 2.0]
    """

    def __init__(
        self,
        learning_rate: Setting = 0.01,
        *,
        momentum: float = 0.0,
        global_clipnorm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, global_clipnorm)
        self.momentum = float(momentum)
        self.moments = ("v",) if momentum else ()

    def update(self, p, g, *moments):
        if moments:
            (v,) = moments
            v *= self.momentum
            v += g
            g = v
        p -= self.now(self.learning_rate) * g

    def config(self):
        config = super().config()
        config.pop("moments")
        return config


class RMSprop(Optimizer):
    """v = rho v + (1-rho) g^2,  p -= lr * g / (sqrt(v) + epsilon).  Hinton (2012).

    Takes the arguments of Optimizer too: learning_rate, global_clipnorm.
    """

    moments = ("v",)

    def __init__(
        self,
        learning_rate: Setting = 1e-3,
        *,
        rho: float = 0.9,
        epsilon: float = 1e-7,
        global_clipnorm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, global_clipnorm)
        self.rho, self.epsilon = float(rho), float(epsilon)

    def update(self, p, g, *moments):
        (v,) = moments
        v += (1 - self.rho) * (g * g - v)
        p -= self.now(self.learning_rate) * g / (np.sqrt(v) + self.epsilon)


class Adam(Optimizer):
    """Kingma and Ba (2015), algorithm 1.  At step t, with m and v the decayed means of g and g^2:

        m = beta_1 m + (1-beta_1) g          mhat = m / (1 - beta_1^t)
        v = beta_2 v + (1-beta_2) g^2        vhat = v / (1 - beta_2^t)

        form="torch":  p -= lr * mhat / (sqrt(vhat) + epsilon)                        (1e-8)
        form="keras":  p -= lr * sqrt(1-beta_2^t)/(1-beta_1^t) * m / (sqrt(v) + epsilon)  (1e-7)

    The forms differ in where epsilon stands; epsilon=None takes the form's own.  A beta may be a
    Cosine too: the formulas then have the present step's, as PyTorch's have when it is changed.
    Takes the arguments of Optimizer too: learning_rate, global_clipnorm.  Raises ValueError for
    another form, and for a beta outside [0, 1).

        >>> params = {"bias": np.array([1.0, 2.0])}
        >>> mg.Adam(0.1).step(params, {"bias": np.array([3.0, 0.0])})
        >>> params["bias"].round(5).tolist()
        [0.9, 2.0]
    """

    moments = ("m", "v")

    def __init__(
        self,
        learning_rate: Setting = 2e-4,
        *,
        beta_1: Setting = 0.5,
        beta_2: Setting = 0.999,
        epsilon: float | None = None,
        form: str = "keras",
        global_clipnorm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, global_clipnorm)
        self.form = one_of(form, ("keras", "torch"), "form", "Adam")
        self.beta_1 = schedules.check(beta_1, "Adam: beta_1", 0.0, 1.0)
        self.beta_2 = schedules.check(beta_2, "Adam: beta_2", 0.0, 1.0)
        self.epsilon = {"keras": 1e-7, "torch": 1e-8}[form] if epsilon is None else float(epsilon)

    def update(self, p, g, *moments):
        m, v = moments
        lr, betas = self.now(self.learning_rate), (self.now(self.beta_1), self.now(self.beta_2))
        c1, c2 = (1 - beta**self.t for beta in betas)
        if self.form == "torch":  # lr/c1 * m / (sqrt(v)/sqrt(c2) + epsilon)
            rate, root = lr / c1, 1 / math.sqrt(c2)
        else:  # lr*sqrt(c2)/c1 * m / (sqrt(v) + epsilon)
            rate, root = lr * math.sqrt(c2) / c1, 1.0
        ops(p).adam(p, g, m, v, rate, betas, root, self.epsilon)


NAMES: dict[str, type[Optimizer]] = {"adam": Adam, "sgd": SGD, "rmsprop": RMSprop}


def get(spec: Any) -> Optimizer:
    """An optimizer from an optimizer, a name, or its config. Raises ValueError for other names."""
    return spec if isinstance(spec, Optimizer) else registry.make("optimizer", NAMES, spec)
