"""What must fit together before a GAN can train: two networks, an objective and its recipe."""

from __future__ import annotations

import numpy as np

from .layers.base import Layer, lacks_second_order
from .layers.norm import BatchNorm
from .objectives import Objective
from .sampler import is_conditional
from .sequential import Sequential
from .targets import Targets


def check_networks(generator: Sequential, discriminator: Sequential) -> None:
    """ValueError or TypeError when the two networks do not fit together."""
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
    found = lacks_second_order(layer)
    if found:
        lacking, method = found
        raise TypeError(
            f"GAN: a penalty needs the second order of {lacking.name}, but "
            f"{type(lacking).__name__} does not define {method}(); "
            "examples/12_own_layer.py shows how"
        )


def ties_images(layer: Layer) -> bool:
    """Whether this layer, or one inside it, normalises over the batch."""
    return isinstance(layer, BatchNorm) or any(map(ties_images, getattr(layer, "layers", ())))


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


def check_pairs(objective: Objective, **images: int) -> None:
    """ValueError when an objective that pairs images is given more of one kind than of another."""
    if objective.pairs and len(set(images.values())) > 1:
        given = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in images.items())
        raise ValueError(
            f"GAN: {type(objective).__name__} pairs every real image with a fake; got {given}: "
            "give latents for as many fakes"
        )
