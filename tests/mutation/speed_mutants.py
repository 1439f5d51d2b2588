"""Faults in the kernels that trade multiplications, and in the stages that fuse.

Of the form of `mutants.MUTANTS`, which they are part of.
"""

from .files import LAYERS, POOLING

COOKTOOM = "kernels/cooktoom.py"
TOOM = "kernels/cpu/toom.py"
GRIDS = "kernels/cpu/grids.py"
TRANSFORMS = "kernels/cpu/transforms.py"
CONV = "kernels/cpu/conv.py"
UPSAMPLED = LAYERS + "upsampled.py"
STAGE = LAYERS + "stage.py"

SPEED = [
    # the matrices
    (COOKTOOM, "[Fraction(0)] * (k - 1) + [Fraction(1)]", "[Fraction(0)] * k"),
    (COOKTOOM, "BT = [[inverse[j][i] for j", "BT = [[inverse[i][j] for j"),
    (COOKTOOM, "G = [[v * size for v in row]", "G = [[v for v in row]"),
    (COOKTOOM, "return Transforms(A * balance, g / balance,", "return Transforms(A * balance, g,"),
    # the grids
    (GRIDS, "tiles = taps_of(a), -(-(last - first + 1) // m)",
     "tiles = taps_of(a), (last - first + 1) // m"),
    (GRIDS, "into = Place(a.out, 1, r - 1 - first)", "into = Place(a.out, 1, r - 1)"),
    (GRIDS, "a.before - a.stride * first)", "a.before)"),
    (GRIDS, "Place(a.size, a.stride, a.before), Place(a.out, 1, 0)",
     "Place(a.size, a.stride, a.before + 1), Place(a.out, 1, 0)"),
    (GRIDS, "first, last = max(0, -place.before)", "first, last = max(0, 1 - place.before)"),
    # the maps
    (TRANSFORMS, "(sn, sq * rows.m, sa, sq, sl)", "(sn, sq * rows.n, sa, sq, sl)"),
    (TRANSFORMS, "(*row, item * L * cols.m, item * L, item)", "(*row, item * L, item * L, item)"),
    (TRANSFORMS, "line[..., side.written :, :] = 0", "pass"),
    (TRANSFORMS, "part += tiles[..., j, :]", "part[...] = tiles[..., j, :]"),
    (TRANSFORMS, "if j < side.m:", "if j <= side.m:"),
    (TRANSFORMS, 'np.matmul(cols.matrix("A", grid.dtype).T, turned, out=d)',
     'np.matmul(cols.matrix("A", grid.dtype).T, turned[::-1], out=d)'),
    (TRANSFORMS, 'np.matmul(cols.matrix("A", grid.dtype), split, out=turned)',
     'np.matmul(cols.matrix("A", grid.dtype)[::-1], split, out=turned)'),
    # the kernel and its gradient
    (TRANSFORMS, "return taps[::-1, :, ::-1] if t.outward else taps", "return taps"),
    (TRANSFORMS, "return taps[::-1, :, ::-1] if t.outward else taps",
     "return taps[::-1, :, ::-1]"),
    (TRANSFORMS, "taps[:, a, :, b, c].reshape(r * q, -1)",
     "taps[:, b, :, a, c].reshape(r * q, -1)"),
    (TRANSFORMS, "taps[:, a, :, b, c] = (GT @", "taps[:, b, :, a, c] = (GT @"),
    (TRANSFORMS, "padded[: rows.kernel, : cols.kernel] = kernel",
     "padded[-rows.kernel :, : cols.kernel] = kernel"),
    # the passes
    (TOOM, "np.add(total, dU, out=total)", "dU"),
    (TOOM, "for part in more:", "for part in more[1:]:"),
    (TOOM, "U = U.transpose(0, 2, 1)",
     "U = kernel_to_points(kernel[::-1], t).transpose(0, 2, 1)"),
    (TOOM, "if big != t.outward:", "if not t.outward:"),
    (TOOM, "b, s = (P, Q) if big else (Q, P)", "b, s = (P, P) if big else (Q, P)"),
    (CONV, "taken = (conv2d_adjoint if to_big else conv2d)(given, kernel, geo)",
     "taken = (conv2d_adjoint if to_big else conv2d)(given[::-1], kernel, geo)"),
    (CONV, "return taken, conv2d_dkernel(big, small, geo)",
     "return taken, conv2d_dkernel(big, small[::-1], geo)"),
    (CONV, "toom.end(other, t, to_big)", "toom.end(other[::-1], t, to_big)"),
    (LAYERS + "conv.py", "found = [ops(x).conv2d_gradients(x, y, k, self.geometry) for",
     "found = [ops(x).conv2d_gradients(x, y[::-1], k, self.geometry) for"),
    (LAYERS + "conv.py", "found = [ops(x).conv2d_adjoint_gradients(y, x, k, self.geometry) for",
     "found = [ops(x).conv2d_adjoint_gradients(y, x, k * 0.5, self.geometry) for"),
    (UPSAMPLED, "return dx, self._unfold(d)", "return dx, self._unfold(d[::-1])"),
    # gradients that are written over
    (LAYERS + "linear.py", "dz = f.derivative_over(dy, a) if over", "dz = dy if over"),
    (LAYERS + "base.py", "self.pullback_over(f.derivative_over(dy, y), saved,",
     "self.pullback_over(dy, saved,"),
    (LAYERS + "linear.py", "dy if over else None\n", "dy\n"),
    (LAYERS + "activations.py", "self.derivative(dy, a, dy) if self.overwrites else",
     "self.derivative(dy, a, a) if self.overwrites else"),
    ("minigan/sequential.py", "mine = mine if passed_on else stage.fresh_dx", "mine = True"),
    ("minigan/sequential.py", "mine = False  # whether", "mine = True  # whether"),
    # stages
    (UPSAMPLED, "S[b + factor * (highest - u), t] = 1", "S[b + factor * (u - lowest), t] = 1"),
    (UPSAMPLED, "taps, factor, factor * highest), S", "taps, factor, factor * highest + 1), S"),
    (UPSAMPLED, "u = (b + t - a.before) // factor", "u = (b + t) // factor"),
    (UPSAMPLED, "return fold(d, rows.T, cols.T)", "return fold(d, rows.T[::-1], cols.T)"),
    (UPSAMPLED, "*self._folds(like)).swapaxes(2, 3)", "*self._folds(like)[::-1]).swapaxes(2, 3)"),
    (UPSAMPLED, "and conv.strides == (1, 1)", ""),
    (UPSAMPLED, "and conv.groups == 1", ""),
    (STAGE, "isinstance(stage, ActivatedStage) and stage.activation.rising",
     "isinstance(stage, ActivatedStage)"),
    (STAGE, "dz, _ = self.pooling.pullback(dy, winners, True, False)",
     "dz, _ = self.pooling.pullback(dy[::-1], winners, True, False)"),
    (POOLING, "who.dtype.type(t), out=late)", "who.dtype.type(1), out=late)"),
    (POOLING, "covered = all(a.out * a.kernel == a.size for a in geo)", "covered = True"),
]  # fmt: skip
