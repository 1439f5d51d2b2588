"""The integer arithmetic of convolutions, one axis at a time. No arrays here.

A convolution slides windows of `kernel` taps over an axis of `size` pixels; windows start
`stride` pixels apart, the first one `before` pixels before the image:

    window o, tap t  reads pixel  i = stride*o + t - before        (zero outside the image)

Everything else follows from that line. `same` and `valid` pad as TensorFlow does.
"""

from __future__ import annotations

from typing import NamedTuple


class Axis(NamedTuple):
    """One axis of a convolution: a big side of `size` pixels, a small side of `out` windows."""

    size: int
    out: int
    kernel: int
    stride: int
    before: int

    def flipped(self) -> Axis:
        """The stride-1 axis with the two sides exchanged.

        With stride 1, y[o] = sum_t x[o + t - before] K[t].  Put t = k-1-u:
        y[o] = sum_u x[o - u + (k-1-before)] K[k-1-u], which is an adjoint pass (small side x,
        big side y) with the kernel reversed and k-1-before pixels of padding.
        """
        if self.stride != 1:
            raise ValueError(f"only a stride of 1 can be flipped, got {self.stride}")
        return Axis(self.out, self.size, self.kernel, 1, self.kernel - 1 - self.before)


class Geometry(NamedTuple):
    """The two axes of an image convolution."""

    rows: Axis
    cols: Axis


class Windows(NamedTuple):
    """`number` windows of `taps` neighbouring pixels; window j starts at pixel start + step*j."""

    start: int
    step: int
    number: int
    taps: int

    @property
    def stop(self) -> int:
        """One past the last pixel read (may lie outside the image, as `start` may)."""
        return self.start + (self.number - 1) * self.step + self.taps

    def part(self, first: int, last: int) -> Windows:
        """The windows first, ..., last-1."""
        return Windows(self.start + self.step * first, self.step, last - first, self.taps)

    def seen_from(self, origin: int) -> Windows:
        """The same windows where pixel `origin` is counted as pixel 0."""
        return self._replace(start=self.start - origin)


def reach(windows: list[Windows]) -> tuple[int, int]:
    """The pixels start:stop that these windows read between them."""
    return min(w.start for w in windows), max(w.stop for w in windows)


class Phase(NamedTuple):
    """The pixels first, first+stride, ... of the big side, and what an adjoint pass reads there.

    Pixel number j of the phase is the sum over the windows of the small side given by `windows`,
    times the kernel's taps tap, tap+stride, ... in reverse order.
    """

    first: int
    tap: int
    windows: Windows


def axis(size: int, kernel: int, stride: int, padding: str) -> Axis:
    """The axis of a plain convolution over `size` pixels.

    same:  out = ceil(size/stride), total padding max((out-1)*stride + kernel - size, 0),
           the odd pixel after.
    valid: out = (size-kernel)//stride + 1, no padding; ValueError when no window fits.

        >>> axis(28, kernel=5, stride=2, padding="same")
        Axis(size=28, out=14, kernel=5, stride=2, before=1)
    """
    if padding == "same":
        out = -(-size // stride)
        total = max((out - 1) * stride + kernel - size, 0)
        return Axis(size, out, kernel, stride, total // 2)
    if kernel > size:
        raise ValueError(
            f"a kernel of {kernel} does not fit into {size} pixels with padding='valid'; "
            f"use padding='same' or a kernel of at most {size}"
        )
    return Axis(size, (size - kernel) // stride + 1, kernel, stride, 0)


def transposed_axis(small: int, kernel: int, stride: int, padding: str) -> Axis:
    """The axis of a transposed convolution over `small` pixels: the plain axis it is adjoint to.

    same:  the big side has small*stride pixels; valid: small*stride + max(kernel-stride, 0).

        >>> transposed_axis(14, kernel=5, stride=2, padding="same")
        Axis(size=28, out=14, kernel=5, stride=2, before=1)
    """
    size = small * stride + (max(kernel - stride, 0) if padding == "valid" else 0)
    return axis(size, kernel, stride, padding)


def windows(axis: Axis) -> Windows:
    """What the forward pass reads: window o starts at pixel stride*o - before."""
    return Windows(-axis.before, axis.stride, axis.out, axis.kernel)


def phases(axis: Axis) -> list[Phase]:
    """What the adjoint pass reads, one entry for each residue of i + before modulo the stride.

    The adjoint is x[i] = sum over (o, t) with stride*o + t - before = i of y[o] K[t].
    Write i + before = stride*q + a with 0 <= a < stride.  The taps that reach pixel i are
    t = a + stride*m, and they read o = q - m:  x[i] = sum_m y[q-m] K[a + stride*m].
    Along the pixels of one residue a, q grows by one: windows of step 1 over the small side.
    A phase with no taps (kernel < stride) reads windows of zero pixels: its pixels are zero.
    """
    found = []
    for a in range(axis.stride):
        first = (a - axis.before) % axis.stride
        count = len(range(first, axis.size, axis.stride))
        taps = len(range(a, axis.kernel, axis.stride))
        q = (first + axis.before) // axis.stride
        if count:
            found.append(Phase(first, a, Windows(q - max(taps - 1, 0), 1, count, taps)))
    return found
