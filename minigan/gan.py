"""The adversarial step: two networks, two losses, and who moves when.

D learns to tell real images from G's, and G learns from D's gradient what would pass for real:

    d_loss: D's output on real images against 1, on G(z) against 0       moves D, G stands still
    g_loss: D's output on G(z) against 1                                 moves G, D stands still

(or whatever the objective says), and penalties on D's slope may be added to d_loss.

G's error arrives through D: dLoss/dimage = D.backward(dlogits, cache, wrt="input"), which
computes no gradient of D's parameters, and then G.backward(dimage, cache).  Nothing is "frozen":
D stands still because nobody steps it.

The three step functions below are the three ways in which published recipes order these updates.
Each is the algorithm in the library's calls; `GAN` holds the parts and the recipe's choices.
"""

from __future__ import annotations

from typing import Any

from . import draws, objectives, optimizers, penalties
from .backend import home, move, room_for
from .compatibility import check_networks, check_objective, check_pairs, check_second_order
from .kernels import steady
from .layers.arguments import one_of, positive
from .layers.base import Cache
from .noise import InstanceNoise
from .penalties import EVERYWHERE, GradientPenalty, images_of
from .random import Key
from .sampler import Sampler
from .sequential import Sequential
from .targets import Targets

Array = Any


def separate_step(gan: GAN, real: Any, z_d: Any, z_g: Any) -> dict[str, Array]:
    """D on real images, an update; D on fakes, an update; G on fresh latents, an update."""
    D, G = gan.D, gan.generator

    d_real, cache = D.forward(real, rng=gan.key("dropout, real"))
    loss_real, dlogits, _ = gan.d_loss(d_real, None)
    grads, on_real = gan.d_gradient(dlogits, cache, real=EVERYWHERE)
    gan.update_d(grads, cache)

    fakes = gan.fakes_for_d(z_d)
    d_fake, cache = D.forward(fakes, rng=gan.key("dropout, fake"))
    loss_fake, _, dlogits = gan.d_loss(None, d_fake)
    grads, on_fake = gan.d_gradient(dlogits, cache, fake=EVERYWHERE)
    between = gan.penalty_between(real, fakes, grads)
    gan.update_d(grads, cache)
    del cache  # G's update has use for the memory

    g_loss = generator_update(gan, D, G, z_g, real) if gan.g_due else gan.g_value(d_fake, d_real)
    penalty = on_real + on_fake + between
    return gan.report(loss_real + loss_fake, g_loss, d_real, d_fake, penalty)


def joint_step(gan: GAN, real: Any, z_d: Any, z_g: Any) -> dict[str, Array]:
    """D on one batch of real images and fakes, one update; G on fresh latents, an update."""
    D, G = gan.D, gan.generator

    fakes = gan.fakes_for_d(z_d)
    both, n = gan.concatenate(real, fakes)
    logits, cache = D.forward(both, rng=gan.key("dropout, joint"))
    d_real, d_fake = logits[:n], logits[n:]
    d_loss, dreal, dfake = gan.d_loss(d_real, d_fake)
    dlogits = home(logits).concatenate([dreal, dfake])
    grads, penalty = gan.d_gradient(dlogits, cache, real=slice(n), fake=slice(n, None))
    penalty = penalty + gan.penalty_between(real, fakes, grads)
    gan.update_d(grads, cache)
    del cache  # G's update has use for the memory

    g_loss = generator_update(gan, D, G, z_g, real) if gan.g_due else gan.g_value(d_fake, d_real)
    return gan.report(d_loss, g_loss, d_real, d_fake, penalty)


def generator_update(gan: GAN, D: Sequential, G: Sequential, z: Any, real: Any) -> Array:
    """G's update: the gradient goes back through D to the images, and from there through G."""
    images, g_cache = G.forward(z, rng=gan.key("dropout, generator"))
    shown = gan.shown(images, z, "fakes, g")
    logits, d_cache = D.forward(shown, rng=gan.key("dropout, g step"))
    compared = None  # with D's logits of real images, if the objective pairs them
    if gan.objective.pairs:
        compared, _ = D.forward(real, rng=gan.key("dropout, g step, real"), keep=False)
    g_loss, dlogits = gan.objective.g_loss(logits, compared)
    dimages = images_of(D.backward(dlogits, d_cache, wrt="input")[0])
    del d_cache  # what G's backward needs is in its own
    gan.update_g(G.backward(dimages, g_cache, wrt="params")[1], g_cache)
    return g_loss


def simultaneous_step(gan: GAN, real: Any, z_d: Any, z_g: Any) -> dict[str, Array]:
    """One z and one forward pass of each; both losses at the same weights; then both updates."""
    D, G = gan.D, gan.generator
    images, g_cache = G.forward(z_d, rng=gan.key("dropout, generator"))
    fakes = gan.shown(images, z_d, "fakes, d")
    d_real, real_cache = D.forward(real, rng=gan.key("dropout, real"))
    d_fake, fake_cache = D.forward(fakes, rng=gan.key("dropout, fake"))

    d_loss, dreal, dfake = gan.d_loss(d_real, d_fake)
    d_grads, on_real = gan.d_gradient(dreal, real_cache, real=EVERYWHERE)
    more, on_fake = gan.d_gradient(dfake, fake_cache, fake=EVERYWHERE)
    d_grads.flat += more.flat
    between = gan.penalty_between(real, fakes, d_grads)

    g_loss, dlogits = gan.objective.g_loss(d_fake, d_real)
    if gan.g_due:
        dimages = images_of(D.backward(dlogits, fake_cache, wrt="input")[0])
        g_grads = G.backward(dimages, g_cache, wrt="params")[1]

    gan.update_d(d_grads, real_cache, fake_cache)
    if gan.g_due:
        gan.update_g(g_grads, g_cache)
    return gan.report(d_loss, g_loss, d_real, d_fake, on_real + on_fake + between)


STEPS = {"separate": separate_step, "joint": joint_step, "simultaneous": simultaneous_step}


class GAN(Sampler):
    """A generator and a discriminator, and a recipe for training them.

    generator: latents (N, latent_dim), or (latents, labels), -> images.  discriminator: images, or
    (images, labels), -> one number each; a last sigmoid is left out in training, which runs on the
    logits.

    objective, g_optimizer, d_optimizer: objects, names, or their configs as dictionaries.
    penalty: None, or a GradientPenalty, its kind, or a list of those: see minigan/penalties.py.
    update: "separate", "joint" or "simultaneous": see the step functions in minigan/gan.py.
    d_fakes: the mode of G when it makes fakes for D, "training" or "inference".
    fakes_per_real: fakes for each real image in D's update (0.5: half as many).
    real_targets, fake_targets, flip_labels: D's targets, see `Targets`.
    instance_noise: None, or (stddev, steps): noise on what D sees, see `InstanceNoise`.
    d_steps: steps for each update of G: D is updated in all of them, G in the last.
    d_loss_weight: factor of the objective's d_loss (0.5: the mean of its two terms instead of their
        sum); penalties keep their own weight.
    latents: "normal", N(0, 1), or "uniform", U(-1, 1).
    ema: None, or the decay of a running average of G's weights, which `sample` then uses.
    batch_size, epochs: what mg.train takes when it is not told otherwise.
    seed: of every draw in training (default: that of mg.seed).

    Raises ValueError or TypeError for networks that do not fit each other, or the recipe's options.

        >>> gan = mg.GAN(*mg.models.mlp_digits(sizes=((16,), (16,))), latents="uniform")
        >>> sorted(gan.train_step(np.zeros((4, 784))))
        ['d_fake', 'd_loss', 'd_real', 'g_loss']
        >>> gan.sample(2).shape
        (2, 784)
    """

    def __init__(
        self,
        generator: Sequential,
        discriminator: Sequential,
        *,
        objective: Any = "non_saturating",
        g_optimizer: Any = "adam",
        d_optimizer: Any = "adam",
        penalty: Any = None,
        update: str = "separate",
        d_fakes: str = "training",
        fakes_per_real: float = 1.0,
        real_targets: tuple[float, float] = (1.0, 1.0),
        fake_targets: tuple[float, float] = (0.0, 0.0),
        flip_labels: float = 0.0,
        instance_noise: tuple[float, int] | None = None,
        d_steps: int = 1,
        d_loss_weight: float = 1.0,
        latents: str = "normal",
        ema: float | None = None,
        batch_size: int = 64,
        epochs: int = 100,
        seed: int | None = None,
    ) -> None:
        check_networks(generator, discriminator)
        super().__init__(generator, latents=latents, seed=seed)
        self.discriminator = discriminator
        self.D = discriminator.logits()
        self.objective = objectives.get(objective)
        self.g_optimizer = optimizers.get(g_optimizer)
        self.d_optimizer = optimizers.get(d_optimizer)
        if self.g_optimizer is self.d_optimizer:
            raise ValueError("GAN: generator and discriminator need an optimizer each")
        self.penalties = penalties.get(penalty)
        if self.penalties:
            check_second_order(self.D)
        self.update = one_of(update, tuple(STEPS), "update", "GAN")
        self.d_fakes = one_of(d_fakes, ("training", "inference"), "d_fakes", "GAN")
        if not fakes_per_real > 0:
            raise ValueError(f"GAN: fakes_per_real={fakes_per_real} should be positive")
        self.fakes_per_real = float(fakes_per_real)
        self.targets = Targets(real_targets, fake_targets, float(flip_labels))
        check_objective(self.objective, self.update, self.fakes_per_real, self.targets)
        self.instance_noise = InstanceNoise.of(instance_noise)
        self.d_steps = positive(d_steps, "d_steps", "GAN")
        self.d_loss_weight = float(d_loss_weight)
        if ema is not None and not 0 <= ema < 1:
            raise ValueError(f"GAN: ema={ema} should be at least 0 and less than 1, or None")
        self.ema = None if ema is None else float(ema)
        if ema is not None:
            self.sampler = generator.astype(generator.dtype)  # a copy
        self.batch_size = positive(batch_size, "batch_size", "GAN")
        self.epochs = positive(epochs, "epochs", "GAN")
        self.step_count = 0
        self._drawn: dict[str, Array] = {}  # the noise of the present step

    # what a user calls

    def train_step(self, real: Any, labels: Any = None, latents: Any = None) -> dict[str, Array]:
        """One step of the recipe: {"d_loss", "g_loss", "d_real", "d_fake"}, scalars.

        With penalties "penalty" too, their sum, which d_loss includes.

        real: images (N, H, W, C) in the generator's range; labels (N,) for conditional networks
        (others ignore them); latents=(z_d, z_g) fixes what would be drawn.  d_real and d_fake are
        the means of D(x) and D(G(z)) in D's update, of probabilities or logits: objective.score.
        Raises, before anything moves, TypeError for images that are whole numbers and labels that
        are not, ValueError for what has other shapes or is not finite; and MemoryError when a GPU
        has no room.
        """
        if getattr(getattr(real, "dtype", None), "kind", "f") in "iub":
            raise TypeError(
                f"GAN: images are {real.dtype}; give floats in the generator's range "
                f"{self.image_range or ''}, or let mg.train convert them"
            )
        if latents is not None and (not isinstance(latents, (tuple, list)) or len(latents) != 2):
            raise ValueError("GAN: latents is (z_d, z_g); either may be None")
        real = self.discriminator.cast_input((real, labels) if self.conditional else real)
        n = len(images_of(real))
        z_d, z_g = latents if latents is not None else (None, None)
        if z_d is None:
            z_d = self.draw_latents(self.fakes_for(n), "latents, d")
        if z_g is None and self.g_due and self.update != "simultaneous":
            z_g = self.draw_latents(n, "latents, g")
        # all is checked before anything moves
        z_d, z_g = (z if z is None else self.generator.cast_input(z) for z in (z_d, z_g))
        self.discriminator.check_input(real)
        for z in (z_d, z_g):
            if z is not None:
                self.generator.check_input(z)
        drawn = {"fakes_for_D": z_d, "fakes_for_G": z_g}
        fakes = {kind: len(images_of(z)) for kind, z in drawn.items() if z is not None}
        check_pairs(self.objective, real_images=n, **fakes)
        noise = draws.of_step(self, n, **fakes)
        try:
            with steady(), room_for(n, "GAN: train_step"):
                # to the networks' home, in one copy
                real, z_d, z_g, self._drawn = move((real, z_d, z_g, noise), self.generator.home)
                logs = STEPS[self.update](self, self.noised(real, "real"), z_d, z_g)
        finally:
            self._drawn = {}
        self.step_count += 1
        return logs

    def config(self) -> dict[str, Any]:
        """The recipe as JSON: GAN(generator, discriminator, **config) is this GAN at its start."""
        return {
            "objective": self.objective.config(),
            "g_optimizer": self.g_optimizer.config(),
            "d_optimizer": self.d_optimizer.config(),
            "penalty": [penalty.config() for penalty in self.penalties] or None,
            "update": self.update,
            "d_fakes": self.d_fakes,
            "fakes_per_real": self.fakes_per_real,
            "real_targets": list(self.targets.real),
            "fake_targets": list(self.targets.fake),
            "flip_labels": self.targets.flip,
            "instance_noise": self.instance_noise and self.instance_noise.config(),
            "d_steps": self.d_steps,
            "d_loss_weight": self.d_loss_weight,
            "latents": self.latent_kind,
            "ema": self.ema,
            "batch_size": self.batch_size,
            "epochs": self.epochs,
            "seed": self.seed,
        }

    def _noise(self, what: str, n: int, like: Array) -> Array:
        """The present step's draw, at the home of an array: moved with the batch, or drawn now."""
        drawn = self._drawn.get(what)
        return move(draws.draw(self, what, n), home(like)) if drawn is None else drawn

    # what the step functions use

    def key(self, purpose: str) -> Key:
        """The key of a draw in the present step; purpose: what it is for."""
        return Key(self.seed, purpose, self.step_count)

    def fakes_for(self, n: int) -> int:
        """How many fakes D's update has beside n real images."""
        return max(1, round(n * self.fakes_per_real))

    def draw_latents(self, n: int, purpose: str) -> Any:
        """What the generator takes for n images: z, or (z, labels). purpose: as for key."""
        key = self.key(purpose)
        z = self.noise(n, key)
        return (z, self.random_labels(n, key)) if self.conditional else z

    def fakes_for_d(self, z: Any) -> Any:
        """Images for D's update, of z: G's forward pass alone is needed, so nothing is kept."""
        training = self.d_fakes == "training"
        images, cache = self.generator.forward(
            z, training=training, rng=self.key("dropout, fakes"), keep=False
        )
        if training:
            self.generator.commit(cache)
        return self.shown(images, z, "fakes, d")

    def shown(self, images: Array, z: Any, purpose: str) -> Any:
        """What D takes: G's images, with noise if there is any, and the labels if z has any.

        purpose: the name of the noise's draw.
        """
        return self.noised((images, z[1]) if self.conditional else images, purpose)

    def noised(self, images: Any, purpose: str) -> Any:
        """Images, or (images, labels), with the present step's noise, drawn for this purpose."""
        if not self.is_noisy:
            return images
        x = images_of(images)
        noisy = x + self._noise(f"noise, {purpose}", len(x), x)
        return (noisy, images[1]) if self.conditional else noisy

    @property
    def is_noisy(self) -> bool:
        """Whether D sees noise in the present step."""
        return bool(self.instance_noise and self.instance_noise.level(self.step_count))

    @property
    def g_due(self) -> bool:
        """Whether G moves in the present step."""
        return (self.step_count + 1) % self.d_steps == 0

    def g_value(self, d_fake: Array, d_real: Array) -> Array:
        """G's loss from D's logits d_fake and d_real, for the log of a step that moves D alone."""
        return self.objective.g_loss(d_fake, d_real)[0]

    def concatenate(self, real: Any, fake: Any) -> tuple[Any, int]:
        """(one batch for D of real images and fake ones, number of real ones)."""
        if not self.conditional:
            return home(fake).concatenate([real, fake]), len(real)
        pairs = zip(real, fake, strict=True)
        return tuple(home(f).concatenate([r, f]) for r, f in pairs), len(real[0])

    def d_loss(self, real: Array | None, fake: Array | None) -> tuple[Array, Array, Array]:
        """The objective's d_loss with the recipe's targets and weight, from D's logits.

        real or fake may be None, which leaves that side out.
        """
        targets = {}
        if not self.targets.plain:
            for side, logits in (("real", real), ("fake", fake)):
                if logits is not None:
                    targets[f"{side}_target"] = self._noise(side, len(logits), logits)
        value, dreal, dfake = self.objective.d_loss(real, fake, **targets)
        w = self.d_loss_weight
        if w == 1:
            return value, dreal, dfake
        return value * w, None if dreal is None else dreal * w, None if dfake is None else dfake * w

    def d_gradient(self, dlogits: Array, cache: Cache, **rows: slice) -> tuple[Any, Any]:
        """(D's gradients, the penalties in them) of one forward pass: its cache, its dlogits.

        rows: which rows of the batch are real=... and which fake=...
        """
        terms = [(p, rows[p.place]) for p in self.penalties_due() if p.place in rows]
        return penalties.penalised_backward(self.D, dlogits, cache, terms)

    def penalty_between(self, real: Any, fake: Any, grads: dict[str, Array]) -> Any:
        """The penalties at points between real images and fakes; their gradient is added to grads.

        real, fake: what D takes.  If one side has more images, its last ones are not used.  Labels
        are those of the real ones.
        """
        total: Any = 0.0
        due = [(p, EVERYWHERE) for p in self.penalties_due() if p.place == "between"]
        if due:
            a, b = images_of(real), images_of(fake)
            n = min(len(a), len(b))
            share = self._noise("between", n, a)
            x = share * a[:n] + (1 - share) * b[:n]
            x = (x, real[1][:n]) if self.conditional else x
            logits, cache = self.D.forward(x, rng=self.key("dropout, between"))
            more, total = penalties.penalised_backward(self.D, 0 * logits, cache, due)
            for name, g in more.items():
                grads[name] += g
        return total

    def penalties_due(self) -> list[GradientPenalty]:
        """The penalties of the present step, with the weights that they have in it."""
        step = self.step_count
        return [p.at(step) for p in self.penalties if step % p.every == 0]

    def update_d(self, grads: dict[str, Array], *caches: Cache) -> None:
        """Step D by grads, and move its running statistics once for each forward pass of caches."""
        self.d_optimizer.step(self.D.params, grads, self.step_count)
        self.objective.constrain(self.D.params)
        for cache in caches:
            self.D.commit(cache)

    def update_g(self, grads: dict[str, Array], cache: Cache) -> None:
        """Step G by grads, its running statistics by cache, and the average of its weights."""
        self.g_optimizer.step(self.generator.params, grads, self.step_count)
        self.generator.commit(cache)
        if self.ema is not None:
            # a young average forgets faster, so that it is not still the random start
            decay = min(self.ema, self.g_optimizer.t / (9 + self.g_optimizer.t))
            average = self.sampler.params.flat
            average += (1 - decay) * (self.generator.params.flat - average)
            self.sampler.state.flat[...] = self.generator.state.flat

    def report(
        self, d_loss: Any, g_loss: Any, d_real: Array, d_fake: Array, penalty: Any
    ) -> dict[str, Array]:
        """The log of a step: d_loss + penalty, g_loss, and scores of the logits d_real, d_fake."""
        score = self.objective.score
        logs = {
            "d_loss": d_loss + penalty,
            "g_loss": g_loss,
            "d_real": score(d_real),
            "d_fake": score(d_fake),
        }
        return {**logs, "penalty": penalty} if self.penalties else logs
