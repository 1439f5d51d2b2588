"""The plain DCGAN that every tutorial starts from, as a yardstick for `minigan train digits`.

    python examples/plain_dcgan.py RUN [--backend cupy]
    python examples/score_digits.py RUN

No labels, batch 64, Adam 2e-4 with beta_1 0.5, weights from N(0, 0.02): Radford et al. (2016).
"""

import argparse

import minigan as mg

parser = argparse.ArgumentParser()
parser.add_argument("run", metavar="RUN", help="a new folder for the run")
parser.add_argument("--backend", choices=["numpy", "cupy", "auto"], help="where arrays live")
args = parser.parse_args()
if args.backend:
    mg.use(args.backend)

start = {"kernel_initializer": mg.RandomNormal(stddev=0.02)}
half = {"strides": 2, "padding": "same", **start}

generator = mg.Sequential(
    [
        mg.Dense(7 * 7 * 128, **start),
        mg.Reshape((7, 7, 128)),
        mg.BatchNorm(momentum=0.9),
        mg.ReLU(),
        mg.Conv2DTranspose(64, 4, **half),
        mg.BatchNorm(momentum=0.9),
        mg.ReLU(),
        mg.Conv2DTranspose(1, 4, activation="tanh", **half),
    ],
    input_shape=(100,),
    name="generator",
)
discriminator = mg.Sequential(
    [
        mg.Conv2D(64, 4, **half),
        mg.LeakyReLU(0.2),
        mg.Conv2D(128, 4, **half),
        mg.BatchNorm(momentum=0.9),
        mg.LeakyReLU(0.2),
        mg.Flatten(),
        mg.Dense(1, **start),
    ],
    input_shape=(28, 28, 1),
    name="discriminator",
)
gan = mg.GAN(generator, discriminator, batch_size=64, epochs=20)
mg.train(gan, mg.datasets.digits(), out=args.run)
