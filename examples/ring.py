"""A GAN step by hand: points on a ring, no training loop, no helper.

    python examples/ring.py [--backend cupy]

Prints how far G's points are from the ring of radius 1, before and after 1000 steps.
"""

import argparse

import numpy as np

import minigan as mg

parser = argparse.ArgumentParser()
parser.add_argument("--backend", choices=["numpy", "cupy", "auto"], help="where arrays live")
args = parser.parse_args()
if args.backend:
    mg.use(args.backend)


def perceptron(inputs, outputs, name):
    hidden = [mg.Dense(64), mg.LeakyReLU(0.2), mg.Dense(64), mg.LeakyReLU(0.2)]
    return mg.Sequential([*hidden, mg.Dense(outputs)], input_shape=(inputs,), name=name)


G, D = perceptron(8, 2, "generator"), perceptron(2, 1, "discriminator")
g_adam, d_adam, loss = mg.Adam(1e-3), mg.Adam(1e-3), mg.NonSaturating()
rng = np.random.default_rng(0)


def latents(n):
    return mg.asarray(rng.standard_normal((n, 8), dtype="float32"))


def distance_from_ring():
    points = mg.to_numpy(G.predict(latents(1000)))
    return float(np.abs(np.linalg.norm(points, axis=1) - 1).mean())


print(f"before: {distance_from_ring():.3f}")

for _ in range(1000):
    angle = rng.uniform(0, 2 * np.pi, (128, 1))
    real = mg.asarray(np.concatenate([np.cos(angle), np.sin(angle)], axis=1).astype("float32"))

    # D: real points should score high, G's points low
    fake, _ = G.forward(latents(128), keep=False)  # nothing of G is needed for D's update
    on_real, real_cache = D.forward(real)
    on_fake, fake_cache = D.forward(fake)
    d_loss, dreal, dfake = loss.d_loss(on_real, on_fake)
    _, grads = D.backward(dreal, real_cache, wrt="params")
    _, more = D.backward(dfake, fake_cache, wrt="params")
    d_adam.step(D.params, {name: grads[name] + more[name] for name in grads})

    # G: its points should score high; the error comes back through D, which stands still
    fake, g_cache = G.forward(latents(128))
    on_fake, d_cache = D.forward(fake)
    g_loss, dlogits = loss.g_loss(on_fake)
    dpoints, _ = D.backward(dlogits, d_cache, wrt="input")
    _, grads = G.backward(dpoints, g_cache, wrt="params")
    g_adam.step(G.params, grads)

print(f"after:  {distance_from_ring():.3f}")
