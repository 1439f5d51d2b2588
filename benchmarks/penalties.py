"""What a gradient penalty costs: D's step with it over D's step without, side by side.

    python benchmarks/penalties.py [NAME ...] [--quick] [--backend cupy]

For each network: the median over alternating rounds of the time of D's step (forward and backward
of a real and a fake batch, and Adam; the penalties' passes where there are any), as a ratio to the
step without penalty.  By the count of products it should be 1.5 with R1 (6 + 3 against 3 + 3 passes
over the layers), 2 with R1 and R2, and 2 with wgan-gp, which takes its slope on a third batch.
"""

import argparse
import time

import numpy as np

import minigan as mg
from minigan.gan import EVERYWHERE

parser = argparse.ArgumentParser()
parser.add_argument("names", nargs="*", metavar="NAME", help="networks (default: all five)")
parser.add_argument("--backend", choices=["numpy", "cupy", "auto"], help="where arrays live")
parser.add_argument("--quick", action="store_true", help="a rehearsal: two images, one round")
args = parser.parse_args()
if args.backend:
    mg.use(args.backend)

BATCHES = {"mlp_digits": 128, "digits": 128, "dcgan64": 64, "upsample64": 32, "flowers": 32}
PENALTIES = {"none": None, "R1": "r1", "wgan-gp": "wgan-gp", "R1 + R2": ["r1", "r2"]}
ROUNDS = 1 if args.quick else 11


def d_step(gan, real, fake):
    """The part of minigan.gan.simultaneous_step that moves D."""
    on_real, real_cache = gan.D.forward(real)
    on_fake, fake_cache = gan.D.forward(fake)
    _, dreal, dfake = gan.d_loss(on_real, on_fake)
    grads, _ = gan.d_gradient(dreal, real_cache, real=EVERYWHERE)
    grads.flat += gan.d_gradient(dfake, fake_cache, fake=EVERYWHERE)[0].flat
    gan.penalty_between(real, fake, grads)
    gan.update_d(grads, real_cache, fake_cache)


def wait():
    """A call may return before the GPU has done its work."""
    if mg.xp.__name__ == "cupy":
        mg.xp.cuda.Device().synchronize()


def seconds(function, *args):
    start = time.perf_counter()
    function(*args)
    wait()
    return time.perf_counter() - start


print(f"{'network':<12}{'ms without':>11}  " + "  ".join(f"{name:>16}" for name in PENALTIES))
for name in args.names or BATCHES:
    gans = {label: mg.GAN(*mg.models.get(name)(), penalty=p) for label, p in PENALTIES.items()}
    shape = (2, 2 if args.quick else BATCHES[name], *gans["none"].discriminator.input_shape)
    real, fake = mg.asarray(np.random.default_rng(0).random(shape, dtype=np.float32))
    for gan in gans.values():
        seconds(d_step, gan, real, fake)  # the first finds no memory to use again
    times = np.array(
        [[seconds(d_step, gan, real, fake) for gan in gans.values()] for _ in range(ROUNDS)]
    )
    ratios = times / times[:, :1]
    cells = [f"{np.median(r):.2f} ({r.min():.2f}-{r.max():.2f})" for r in ratios.T]
    cells = "  ".join(f"{cell:>16}" for cell in cells)
    print(f"{name:<12}{np.median(times[:, 0]) * 1e3:>11.1f}  {cells}", flush=True)
