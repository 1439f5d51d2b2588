"""How good are a run's digits? Frechet distance to the real ones, and whether they are read.

    python examples/score_digits.py RUN [RUN ...] [--backend cupy]

Trains a small classifier on the embedded digits (seconds), draws 10,000 samples of each run's
generator (seed 0), and compares features.  Real against real gives the floor.
"""

import argparse

import numpy as np

import minigan as mg
from minigan.run.features import ClassifierFeatures
from minigan.run.metrics import frechet_distance
from minigan.run.sampling import SavedGenerator

parser = argparse.ArgumentParser()
parser.add_argument("runs", nargs="*", metavar="RUN", help="folders of finished runs")
parser.add_argument("--backend", choices=["numpy", "cupy", "auto"], help="where arrays live")
args = parser.parse_args()
if args.backend:
    mg.use(args.backend)

images, labels = mg.datasets.digits()
judge = ClassifierFeatures((28, 28, 1), classes=10).train(images, labels)
real = judge.features(images)
order = np.random.default_rng(0).permutation(len(real))
floor = frechet_distance(real[order[::2]], real[order[1::2]])
print(f"real against real  distance {floor:.2f}")

for run in args.runs:
    fakes, wanted = SavedGenerator(run).images(10_000, 0, None)
    features = judge.features(fakes)
    probabilities = judge.probabilities(features)
    confident = (probabilities.max(axis=1) > 0.9).mean()
    text = f"{run}  distance {frechet_distance(real, features):.2f}"
    text += f"  read with confidence {confident:.1%}"
    if wanted is not None:
        text += f"  as the digit asked for {(probabilities.argmax(axis=1) == wanted).mean():.1%}"
    print(text)
