"""A layer of one's own, y = x^2, checked; then the same layer with a mistake in it.

python examples/own_layer.py [--backend cupy]
"""

import argparse

import minigan as mg

parser = argparse.ArgumentParser()
parser.add_argument("--backend", choices=["numpy", "cupy", "auto"], help="where arrays live")
args = parser.parse_args()
if args.backend:
    mg.use(args.backend)


@mg.register
class Square(mg.Layer):
    """y = x^2, so dx = 2 x dy.

    Along tx: ty = 2 x tx, and dx moves by the product rule, ddx = 2 tx dy + 2 x ddy.
    """

    def setup(self, input_shape, key):
        return input_shape

    def compute(self, x, training, rng, keep):
        return x * x, mg.Cache(x if keep else None)

    def pullback(self, dy, saved, to_input, to_params):
        return (2 * saved * dy if to_input else None), {}

    def pushforward(self, tx, saved):
        return 2 * saved * tx, tx  # ty, and what pullback_tangent needs

    def pullback_tangent(self, ddy, saved, tx, dy, to_input, to_params):
        return (2 * (tx * dy + saved * ddy) if to_input else None), {}


class WrongSquare(Square):
    """The factor 2 is missing."""

    def pullback(self, dy, saved, to_input, to_params):
        return (saved * dy if to_input else None), {}


print(mg.check_gradients(Square(), (3, 4)))
print()
print(mg.check_gradients(WrongSquare(), (3, 4)))
