"""A step of the digits pair, batch 128, in minigan and in PyTorch, in turn.

    pip install torch
    python examples/time_digits_step.py

Each runs in a process of its own with all cores; the two alternate, three steps at a time, and the
ratio is that of neighbours in time, since machines are noisy.  Both do the same: D on real images,
D on fakes, G through D, an Adam step each.
"""

import importlib.util
import statistics
import subprocess
import sys

MINIGAN = """
import numpy as np, minigan as mg
recipe = {**mg.recipes.digits, "fakes_per_real": 1.0}
gan = mg.GAN(*mg.models.digits(), **recipe)
images = np.random.default_rng(0).random((512, 28, 28, 1), dtype="float32")
rng = np.random.default_rng(1)

def step():
    gan.train_step(images[rng.integers(0, 512, 128)])
"""

TORCH = """
import torch, torch.nn as nn, numpy as np
last = torch.channels_last
G = nn.Sequential(
    nn.Linear(100, 6272), nn.LeakyReLU(0.2), nn.Unflatten(1, (128, 7, 7)),
    nn.ConvTranspose2d(128, 128, 4, 2, 1), nn.LeakyReLU(0.2),
    nn.ConvTranspose2d(128, 128, 4, 2, 1), nn.LeakyReLU(0.2),
    nn.Conv2d(128, 1, 7, padding=3), nn.Sigmoid()).to(memory_format=last)
D = nn.Sequential(
    nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(1, 64, 3, 2), nn.LeakyReLU(0.2),
    nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(64, 64, 3, 2), nn.LeakyReLU(0.2),
    nn.Flatten(), nn.Dropout(0.4), nn.Linear(3136, 1)).to(memory_format=last)
g_adam, d_adam = (torch.optim.Adam(m.parameters(), 2e-4, (0.5, 0.999), fused=True) for m in (G, D))
bce, one, zero = nn.BCEWithLogitsLoss(), torch.ones(128, 1), torch.zeros(128, 1)
images, rng = torch.rand(512, 1, 28, 28), np.random.default_rng(1)

def step():
    real = images[torch.from_numpy(rng.integers(0, 512, 128))].contiguous(memory_format=last)
    D.requires_grad_(True)
    d_adam.zero_grad(); bce(D(real), one).backward(); d_adam.step()
    with torch.no_grad():
        fake = G(torch.randn(128, 100))
    d_adam.zero_grad(); bce(D(fake), zero).backward(); d_adam.step()
    D.requires_grad_(False)
    g_adam.zero_grad(); bce(D(G(torch.randn(128, 100))), one).backward(); g_adam.step()
"""

SERVE = """
import sys, time
step(); step(); print("ready", flush=True)
for line in sys.stdin:
    times = []
    for _ in range(3):
        start = time.perf_counter(); step(); times.append(time.perf_counter() - start)
    print(sorted(times)[1], flush=True)
"""


if importlib.util.find_spec("torch") is None:
    sys.exit("this comparison needs PyTorch: pip install torch")


def start(code):
    command = [sys.executable, "-c", code + SERVE]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    process.stdout.readline()
    return process


def ask(process):
    process.stdin.write("\n")
    return float(process.stdout.readline())


ours, theirs = start(MINIGAN), start(TORCH)
pairs = [(ask(ours), ask(theirs)) for _ in range(12)]
for process in (ours, theirs):
    process.stdin.close()
    process.wait()
ratios = [b / a for a, b in pairs]
print(f"minigan {statistics.median(a for a, _ in pairs):.3f} s a step, ", end="")
print(
    f"PyTorch {statistics.median(b for _, b in pairs):.3f} s; PyTorch's time over minigan's: ",
    end="",
)
print(f"median {statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}")
