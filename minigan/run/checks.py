"""`minigan check`: every layer, kernel, loss and adversarial step against an independent number."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from .. import losses, objectives, penalties
from ..backend import use, xp
from ..gradcheck import check_gradients
from ..kernels import cpu, reference
from ..kernels.cpu import grids, plan
from ..kernels.geometry import Axis, Geometry, axis
from ..numeric import STEP, Report, Row, verdict
from ..random import Key
from .check_cases import gan_cases, layer_cases
from .check_critics import critic_rows
from .check_modern import modern_rows
from .check_rows import agree
from .check_values import value_rows


def main(first_failure: bool = False) -> int:
    """Run all checks, print the table as it grows, return the exit code: 0, or 1 if any failed."""
    start, report = time.perf_counter(), Report()
    print(f"{'what':<57} {'quantity':<31} {'engine':<10} {'error':<9}verdict")
    for row in all_rows():
        report.rows.append(row)
        print(
            f"{row.what:<57} {row.quantity:<31} {row.engine:<10} {row.error:<9.1e}"
            f"{row.verdict} {row.note}".rstrip(),
            flush=True,
        )
        if first_failure and not row.ok:
            break
    failed = len(report.failures)
    print(
        f"\n{len(report.rows)} comparisons in {time.perf_counter() - start:.0f} s; "
        f"worst error against numeric derivatives {report.max_error:.1e}; "
        f"{f'{failed} FAILED' if failed else 'all passed'}"
    )
    return 1 if failed else 0


def all_rows() -> Iterator[Row]:
    """The rows of the table, kernels first.

    Kernels, values and losses are the CPU's.  Layers and GANs live where the backend in use says:
    on a GPU their passes are compared with the CPU's.
    """
    with on_the_cpu():
        with plan.exactly():  # the plain forms; those by Cook and Toom have rows of their own
            yield from kernel_rows()
        yield from value_rows()
        yield from critic_rows()
        yield from modern_rows()
        yield from loss_rows()
    for label, make, shape, options in layer_cases():
        rows = check_gradients(make(), shape, **options).rows
        yield from (replace(row, what=label) for row in rows)
    for label, gan in gan_cases():
        for row in check_gradients(gan, batch=3).rows:
            yield replace(row, what=f"{row.what}, {label}")


@contextmanager
def on_the_cpu() -> Iterator[None]:
    """Inside the block, new arrays are born on the CPU."""
    chosen = xp().__name__
    use("numpy")
    try:
        yield
    finally:
        use(chosen)


# kernels against the definitions


def geometries() -> list[tuple[str, Geometry]]:
    """Stride over kernel, kernel over stride, sides that no stride divides, odd padding."""

    def both(h: int, w: int, kernel: Any, strides: Any, padding: str) -> Geometry:
        return Geometry(
            axis(h, kernel[0], strides[0], padding), axis(w, kernel[1], strides[1], padding)
        )

    return [
        ("k3 s1 same", both(5, 7, (3, 3), (1, 1), "same")),
        ("k4 s2 same", both(6, 5, (4, 4), (2, 2), "same")),
        ("k5 s2 same", both(7, 8, (5, 5), (2, 2), "same")),
        ("k3x2 s1x3 valid", both(6, 9, (3, 2), (1, 3), "valid")),
        ("k1 s2 same", both(5, 6, (1, 1), (2, 2), "same")),
        ("k2 s3 valid", both(8, 7, (2, 2), (3, 3), "valid")),
        ("k7 s1 same", both(6, 6, (7, 7), (1, 1), "same")),
        ("k4 s3 same", both(7, 8, (4, 4), (3, 3), "same")),
        ("k4 s3 same, 2 pixels", both(2, 7, (4, 4), (3, 3), "same")),
        ("k4 s2 before 2", Geometry(Axis(7, 4, 4, 2, 2), Axis(9, 5, 4, 2, 2))),
    ]


def kernel_rows() -> Iterator[Row]:
    """The fast convolutions against reference.py, and the adjoint identity <Lx, y> = <x, L'y>."""
    rng = Key(0, "kernel check").generator()
    for label, geo in geometries():
        for c, oc in ((3, 2), (1, 20), (20, 1), (17, 18)):
            x = rng.standard_normal((3, geo.rows.size, geo.cols.size, c))
            k = rng.standard_normal((geo.rows.kernel, geo.cols.kernel, c, oc))
            y = rng.standard_normal((3, geo.rows.out, geo.cols.out, oc))
            what = f"convolution {label}, {c}->{oc}"
            loops = reference.conv2d_loops(x, k, geo)
            yield agree(what, "conv2d, loops", reference.conv2d(x, k, geo), loops)
            adjoint = reference.conv2d_adjoint(y, k, geo)
            yield _inner(what, "adjoint identity", (loops * y).sum(), (x * adjoint).sum(), x, y)
            yield agree(what, "conv2d, fast", cpu.conv2d(x, k, geo), loops)
            yield agree(what, "adjoint, fast", cpu.conv2d_adjoint(y, k, geo), adjoint)
            dkernel = reference.conv2d_dkernel(x, y, geo)
            yield _inner(what, "dkernel identity", (loops * y).sum(), (k * dkernel).sum(), x, y)
            yield agree(what, "dkernel, fast", cpu.conv2d_dkernel(x, y, geo), dkernel)
        x = rng.standard_normal((2, geo.rows.size, geo.cols.size, 3))
        y = rng.standard_normal((2, geo.rows.out, geo.cols.out, 3))
        mean = reference.average_pool2d(x, geo)
        spread = reference.average_pool2d_adjoint(y, geo)
        yield _inner(f"average pooling {label}", "adjoint", (mean * y).sum(), (x * spread).sum())
    yield from block_rows(rng)
    yield from toom_rows(rng)
    x, y = rng.standard_normal((2, 3, 4, 2)), rng.standard_normal((2, 6, 12, 2))
    for module, name in ((reference, "reference"), (cpu, "fast")):
        up, down = module.upsample2d(x, (2, 3)), module.upsample2d_adjoint(y, (2, 3))
        yield _inner(f"upsampling, {name}", "adjoint", (up * y).sum(), (x * down).sum())
    yield from elementwise_rows(rng)


def toom_rows(rng: np.random.Generator) -> Iterator[Row]:
    """The passes by Cook and Toom, in both directions, with whole and with unfinished tiles."""
    for label, geo in geometries():
        if any(a.kernel < a.stride for a in geo):
            continue  # never planned
        x = rng.standard_normal((5, geo.rows.size, geo.cols.size, 6))[..., ::2]  # with gaps
        k = rng.standard_normal((geo.rows.kernel, geo.cols.kernel, 3, 4))
        y = rng.standard_normal((5, geo.rows.out, geo.cols.out, 8))[..., ::2]
        for outward in (False, True):
            for m in (2, 3):
                sizes = [1 if grids.taps_of(a) == 1 else m for a in geo]
                t = grids.tiled(geo, (sizes[0], sizes[1]), outward)
                what = f"convolution {label}, tiles of {m}, {'outwards' if outward else 'inwards'}"
                with plan.always(plan.Path("toom", 0.0, t)):
                    for name, args in (
                        ("conv2d", (x, k, geo)),
                        ("conv2d_adjoint", (y, k, geo)),
                        ("conv2d_dkernel", (x, y, geo)),
                    ):
                        exact = getattr(reference, name)(*args)
                        yield agree(what, name, getattr(cpu, name)(*args), exact)
                    for name, pair in (
                        ("conv2d_gradients", (x, y)),
                        ("conv2d_adjoint_gradients", (y, x)),
                    ):
                        found, exact = (getattr(m, name)(*pair, k, geo) for m in (cpu, reference))
                        yield agree(what, f"{name}, taken", found[0], exact[0])
                        yield agree(what, f"{name}, dkernel", found[1], exact[1])


def block_rows(rng: np.random.Generator) -> Iterator[Row]:
    """Work that is split into blocks of images, of rows of one image, and over threads."""
    for label, n, size, c, oc in (("images", 30, 16, 20, 20), ("rows", 2, 96, 64, 33)):
        geo = Geometry(axis(size, 4, 2, "same"), axis(size, 4, 2, "same"))
        x = rng.standard_normal((n, size, size, c))
        k = rng.standard_normal((4, 4, c, oc))
        y = rng.standard_normal((n, geo.rows.out, geo.cols.out, oc))
        for name, args in (
            ("conv2d", (x, k, geo)),
            ("conv2d_adjoint", (y, k, geo)),
            ("conv2d_dkernel", (x, y, geo)),
        ):
            fast, exact = getattr(cpu, name)(*args), getattr(reference, name)(*args)
            yield agree(f"convolution in blocks of {label}", name, fast, exact)
    geo = Geometry(axis(16, 4, 2, "same"), axis(16, 4, 2, "same"))
    x, y = rng.standard_normal((400, 16, 16, 3)), rng.standard_normal((400, 8, 8, 40))
    with plan.always(plan.Path("toom", 0.0, grids.tiled(geo, (2, 2), False))):
        found = cpu.conv2d_dkernel(x, y, geo)
    exact = reference.conv2d_dkernel(x, y, geo)
    yield agree("tiles in blocks of images", "conv2d_dkernel", found, exact)
    for m, n in ((4000, 16), (16, 4000)):
        a, b = rng.standard_normal((m, 500)), rng.standard_normal((500, n))
        yield agree("product over threads", f"{m} x {n}", cpu.matmul(a, b), a @ b)


def elementwise_rows(rng: np.random.Generator) -> Iterator[Row]:
    """The fast elementwise kernels and sums against reference.py."""
    x, y = rng.standard_normal((2, 700, 4, 5)), rng.standard_normal((2, 700, 4, 5))
    c = rng.standard_normal((4, 5))
    x[0, :9], y[0, :9] = 0, 1  # at the kink
    calls: dict[str, tuple[Any, ...]] = {
        "leaky_relu": (x, 0.2),
        "leaky_relu_backward": (y, x, 0.2),
        "tanh": (x,),
        "tanh_backward": (y, x),
        "sigmoid": (x,),
        "sigmoid_backward": (y, x),
        "multiply": (x, y),
        "column_sums": (x,),
        "product_sums": (x, y),
        "normalise": (x, c[0], c[1]),
        "scale_shift": (x, c[0], c[1]),
        "normalise_dx": (y, x, c[0], c[1], c[2]),
        "subtract_scaled": (y.copy(), x, c[0], y, c[1]),
        "matmul": (x.reshape(-1, 5), c.T),
    }
    for name, args in calls.items():
        exact, fast = getattr(reference, name)(*args), getattr(cpu, name)(*args)
        yield agree("elementwise and sums", name, fast, exact)
    for fast, exact in zip(cpu.batch_moments(x), reference.batch_moments(x), strict=True):
        yield agree("elementwise and sums", "batch_moments", fast, exact)
    wide = rng.standard_normal((500_001, 3))  # large enough to be shared between threads
    yield agree("sums over threads", "column_sums", cpu.column_sums(wide), wide.sum(axis=0))
    squares = (wide * wide).sum(axis=0)
    yield agree("sums over threads", "product_sums", cpu.product_sums(wide, wide), squares)
    yield agree("elementwise over threads", "tanh", cpu.tanh(wide), np.tanh(wide))
    many = rng.standard_normal((300, 60, 10))  # several blocks of samples
    mean, scale = many.mean(axis=(1, 2), keepdims=True), rng.random((300, 1, 1))
    normed = cpu.normalise(many, mean, scale)
    yield agree("sums within samples", "normalise", normed, (many - mean) * scale)
    ties = np.round(rng.standard_normal((2, 4, 5, 3))) - 4  # negative: zeros of padding must lose
    for padding in ("valid", "same"):
        geo = Geometry(axis(4, 2, 2, "valid"), axis(5, 2, 2, padding))
        yield from pooling_rows(f"max pooling, ties, {padding}", ties, geo)


def pooling_rows(what: str, x: np.ndarray, geo: Geometry) -> Iterator[Row]:
    """Maxima and winners of windows of two by two against a plain loop over the windows."""
    values = np.zeros((len(x), geo.rows.out, geo.cols.out, x.shape[-1]))
    winners = np.zeros(values.shape, int)
    for n, i, j, c in np.ndindex(values.shape):
        window = x[n, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c]
        values[n, i, j, c] = window.max()
        row, col = np.argwhere(window == window.max())[0]  # the first in row-major order
        winners[n, i, j, c] = 2 * row + col
    for module, name in ((reference, "reference"), (cpu, "fast")):
        found, winner = module.max_pool2d(x, geo)
        yield agree(what, f"maximum, {name}", found, values)
        yield agree(what, f"winner, {name}", winner, winners)


def loss_rows() -> Iterator[Row]:
    """The derivative of every loss and objective against its own value's complex step."""
    rng = Key(0, "loss check").generator()
    p = rng.uniform(0.1, 0.9, (4, 3))
    logits = 3 * rng.standard_normal((4, 3))
    shares = p / p.sum(axis=1, keepdims=True)
    cases: list[tuple[str, Any, Any]] = [
        ("MSE", lambda q: losses.MSE()(q, logits), p),
        ("BCE", lambda q: losses.BCE()(q, p[::-1]), p),
        ("BCE, logits, targets beyond", lambda q: losses.bce_logits(q, 1.4 * p - 0.2), logits),
        ("CrossEntropy", lambda q: losses.CrossEntropy()(q, shares[::-1]), shares),
        (
            "CrossEntropy, logits",
            lambda q: losses.CrossEntropy(from_logits=True)(q, shares[::-1]),
            logits,
        ),
    ]
    clipped = [objectives.NonSaturating(logit_clip=2.0), objectives.Minimax(logit_clip=2.0)]
    for o in [cls() for cls in objectives.NAMES.values()] + clipped:
        label = type(o).__name__ + (", clipped" if o in clipped else "")
        cases += [
            (f"{label}: d_loss, real", lambda q, o=o: o.d_loss(q, logits[::-1])[:2], logits),
            (f"{label}: d_loss, fake", lambda q, o=o: o.d_loss(p, q)[::2], logits),
            (f"{label}: g_loss", lambda q, o=o: o.g_loss(q, logits[::-1]), logits),
        ]
    for kind in penalties.PLACES:
        cases.append((f"penalty {kind}", penalties.GradientPenalty(kind, weight=3.0), logits))
    for label, loss, at in cases:
        hand = loss(at)[1]
        found = np.zeros_like(at)
        for index in np.ndindex(at.shape):
            moved = at.astype(complex)
            moved[index] += 1j * STEP
            found[index] = loss(moved)[0].imag / STEP
        yield agree(f"loss {label}", "prediction", hand, found, "complex")


def _inner(what: str, quantity: str, left: Any, right: Any, *arrays: np.ndarray) -> Row:
    """<Lx, y> against <x, L'y>, relative to the sum's size."""
    error = abs(float(left - right)) / max(abs(float(left)), abs(float(right)), 1.0)
    return Row(what, quantity, "adjoint", error, 1e-12, verdict(error, 1e-12))
