"""What must fit together before a GAN can train: two networks, an objective and its recipe."""

from __future__ import annotations

import numpy as np

from .layers.base import Layer
from .objectives import Objective
from .sampler import is_conditional
from .sequential import Sequential
from .targets import Targets


def check_networks(generator: Sequential, discriminator: Sequential) -> None:
    """ValueError when the two networks do not fit together."""
    for model, role in ((generator, "generator"), (discriminator, "discriminator")):
        if not isinstance(model, Sequential):
            raise TypeError(f"GAN: the {role} is a {type(model).__name__}; it must be a Sequential")
        if model.output_shape is None:
            raise ValueError(f"GAN: the {role} is not built; give it an input_shape")
    if generator is discriminator:
        raise ValueError("GAN: the generator and the discriminator are one and the same network")
    if generator.dtype != discriminator.dtype:
        raise TypeError(
            f"GAN: the generator is {generator.dtype}, the discriminator {discriminator.dtype}; "
            "build both with one dtype"
        )
    if is_conditional(generator) != is_conditional(discriminator):
        raise ValueError("GAN: either both networks take labels or neither does")
    takes = discriminator.input_shape
    takes = takes[0] if is_conditional(discriminator) else takes
    if generator.output_shape != takes:
        raise ValueError(
            f"GAN: the generator makes {generator.output_shape}, "
            f"the discriminator takes {takes}; they must be the same"
        )
    bounded = discriminator.logits().last_activation()
    if bounded in ("sigmoid", "tanh", "softmax"):
        raise ValueError(
            f"GAN: the discriminator ends in {bounded}, which hides its logits; "
            "end it with Dense(1), or with one sigmoid at its very end"
        )
    if int(np.prod(discriminator.output_shape)) != 1:
        raise ValueError(
            f"GAN: the discriminator gives {discriminator.output_shape} numbers an image; "
            "end it with Dense(1)"
        )


def check_second_order(layer: Layer) -> None:
    """TypeError when a gradient penalty cannot go through this layer, or one inside it."""
    for name in ("pushforward", "pullback_tangent"):
        if getattr(type(layer), name) is getattr(Layer, name):
            own = type(layer).__name__
            raise TypeError(
                f"GAN: a penalty needs the second order of {layer.name}, but {own} does not define "
                f"{name}(); examples/own_layer.py shows how"
            )
    for inner in getattr(layer, "layers", ()):
        check_second_order(inner)


def check_objective(
    objective: Objective, update: str, fakes_per_real: float, targets: Targets
) -> None:
    """ValueError when the recipe asks of the objective what it cannot do."""
    name = type(objective).__name__
    if objective.pairs and update == "separate":
        raise ValueError(
            f"GAN: {name} compares real images with fakes, so D needs both at once: "
            'update="joint" or "simultaneous"'
        )
    if objective.pairs and fakes_per_real != 1:
        raise ValueError(f"GAN: {name} pairs every image with a fake: fakes_per_real=1")
    if not objective.targeted and not targets.plain:
        raise ValueError(
            f"GAN: {name} has no targets; leave out real_targets, fake_targets and flip_labels"
        )
