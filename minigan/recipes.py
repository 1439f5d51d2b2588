"""Training recipes as data: mg.GAN(generator, discriminator, **recipe).

Each of the five named after a network is that network's published recipe; the others are ours.
"""

from __future__ import annotations

import copy
from typing import Any

from . import objectives, registry

Recipe = dict[str, Any]

_ADAM = {"name": "adam", "learning_rate": 2e-4, "beta_1": 0.5, "form": "keras"}

# D on 256 real images, an update; on 128 fakes, an update; G on 256 fresh latents
digits: Recipe = {
    "objective": "non_saturating",
    "g_optimizer": {**_ADAM},
    "d_optimizer": {**_ADAM},
    "update": "separate",
    "fakes_per_real": 0.5,
    "batch_size": 256,
    "epochs": 100,
}

flowers: Recipe = copy.deepcopy(digits)

# one z, both losses at the same weights; targets with outward noise, for which the loss from logits
# has no minimum: the logit is clipped where a probability would be, at log((1 - 1e-7)/1e-7)
dcgan64: Recipe = {
    "objective": {"name": "non_saturating", "logit_clip": 16.118},
    "g_optimizer": {**_ADAM},
    "d_optimizer": {**_ADAM},
    "update": "simultaneous",
    "real_targets": (1.0, 1.1),
    "fake_targets": (-0.1, 0.0),
    "d_loss_weight": 0.5,
    "batch_size": 128,
    "epochs": 100,
}

# D on one batch of real images and fakes made in inference mode
upsample64: Recipe = {
    "objective": "non_saturating",
    "g_optimizer": {**_ADAM},
    "d_optimizer": {**_ADAM},
    "update": "joint",
    "d_fakes": "inference",
    "d_loss_weight": 0.5,
    "batch_size": 128,
    "epochs": 100,
}

_TORCH = {
    "name": "adam",
    "learning_rate": 1e-5,
    "beta_1": 0.9,
    "beta_2": 0.999,
    "form": "torch",
}

mlp_digits: Recipe = {
    "objective": "non_saturating",
    "g_optimizer": {**_TORCH},
    "d_optimizer": {**_TORCH},
    "update": "joint",
    "d_loss_weight": 0.5,
    "batch_size": 128,
    "epochs": 200,
}

# ours: what `minigan train digits` runs.  Labels, a fast learning rate and an average of the
# weights are what make the digits clear within minutes
_FAST = {"name": "adam", "learning_rate": 5e-4, "beta_1": 0.5, "form": "torch"}
clear_digits: Recipe = {
    "objective": "non_saturating",
    "g_optimizer": {**_FAST},
    "d_optimizer": {**_FAST},
    "update": "simultaneous",
    "ema": 0.999,
    "batch_size": 64,
    "epochs": 20,
}

# ours, for images of any size, see models.dcgan: D is held back, for it would soon know a small set
# of photographs by heart
_DCGAN = {"name": "adam", "beta_1": 0.5, "form": "torch"}
dcgan: Recipe = {
    "objective": "non_saturating",
    "g_optimizer": {**_DCGAN, "learning_rate": 2e-4},
    "d_optimizer": {**_DCGAN, "learning_rate": 1e-4},
    "update": "simultaneous",
    "real_targets": (0.9, 0.9),
    "instance_noise": (0.1, 5000),
    "ema": 0.999,
    "batch_size": 64,
    "epochs": 300,
}

# after R3GAN (Huang et al., 2024): relativistic pairs, R1 and R2 in every step, no momentum; gamma
# falls and the memory of squared gradients grows while the networks settle.  The paper lets rate
# and average burn in too; rate, batch and lengths here are ours, for what two cores train
_BURN_IN = 2000  # steps
_R3GAN = {
    "name": "adam",
    "learning_rate": 1e-3,
    "beta_1": 0.0,
    "beta_2": {"start": 0.9, "end": 0.99, "steps": _BURN_IN},
    "form": "torch",
}
_GAMMA = {"start": 1.0, "end": 0.1, "steps": _BURN_IN}
r3gan: Recipe = {
    "objective": "relativistic_pairing",
    "g_optimizer": copy.deepcopy(_R3GAN),
    "d_optimizer": copy.deepcopy(_R3GAN),
    "penalty": [{"kind": "r1", "weight": {**_GAMMA}}, {"kind": "r2", "weight": {**_GAMMA}}],
    "update": "joint",
    "ema": 0.999,
    "batch_size": 64,
    "epochs": 100,
}

NAMES = (
    "digits",
    "flowers",
    "dcgan64",
    "upsample64",
    "mlp_digits",
    "clear_digits",
    "dcgan",
    "r3gan",
)

# `minigan train NAME` runs this (network, recipe); `--recipe reference` runs (NAME, NAME)
DEFAULT = {
    "digits": ("clear_digits", "clear_digits"),
    "flowers": ("clear_flowers", "dcgan"),
    "dcgan64": ("dcgan64", "dcgan"),
    "upsample64": ("upsample64", "upsample64"),
    "mlp_digits": ("mlp_digits", "mlp_digits"),
    "clear_flowers": ("clear_flowers", "dcgan"),
}


def with_objective(recipe: Recipe, objective: Any, penalty: Any) -> tuple[Recipe, list[str]]:
    """(the recipe with another objective or penalty, what else had to change for it).

    None leaves the recipe's own.  Options of the recipe's objective that the other one knows too
    are kept.  Targets that the objective does not know are left out, and objectives that pair real
    images with fakes get as many of each, in one update, and their one term at full weight.
    recipe: left as it is.  objective: an object, a name or a config; ValueError for another.
    penalty: as GAN takes it.
    """
    changed: list[str] = []
    recipe = copy.deepcopy(recipe)
    if penalty is not None:
        recipe["penalty"] = penalty
    if objective is None:
        return recipe, changed
    options = objectives.get(recipe["objective"]).config()
    made = objectives.get(objective)
    if isinstance(objective, str):
        objective = made.config()
        objective |= {key: options[key] for key in options.keys() & objective.keys() - {"name"}}
        lost = [key for key, value in options.items() if key not in objective and value is not None]
        changed += [f"no {key}" for key in lost]
    recipe["objective"] = objective
    settings: Recipe = {}
    if made.pairs:
        joint = "joint" if recipe["update"] == "separate" else recipe["update"]
        settings |= {"update": joint, "fakes_per_real": 1.0}
        if "d_loss_weight" in recipe:
            settings["d_loss_weight"] = 1.0
    if not made.targeted:
        plain = {"real_targets": (1.0, 1.0), "fake_targets": (0.0, 0.0), "flip_labels": 0.0}
        settings |= {name: value for name, value in plain.items() if name in recipe}
    for name, value in settings.items():
        if recipe.get(name, value) != value:
            changed.append(f"{name}={value!r} instead of {recipe[name]!r}")
        recipe[name] = value
    return recipe, changed


def get(name: str) -> Recipe:
    """A copy of the recipe of this name.

    name: one of recipes.NAMES; ValueError for another.

        >>> mg.recipes.get("digits")["update"]
        'separate'
    """
    return copy.deepcopy(registry.find("recipe", {n: globals()[n] for n in NAMES}, name))
