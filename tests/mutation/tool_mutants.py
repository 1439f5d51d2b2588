"""Faults to plant in the training tool, and the tests that catch each.

`minigan check` looks at networks; what a run reads, writes, draws and measures has tests of its
own.  `tests` is what pytest is given, below tests/.
"""

from __future__ import annotations

from typing import NamedTuple

RUN = "minigan/run/"
TIPS, NOISE, WATCH = "test_gan_tips.py", "test_noise.py", "run/test_watch.py"
RESUME, CHECKPOINT = "run/test_resume.py", "run/test_checkpoint.py"
ORDER = "run/test_train.py::test_every_image_once_an_epoch_in_a_new_order"
MIRROR = "run/test_train.py::test_half_of_the_images_are_mirrored"
METRICS, PATHS, PICTURES = (
    "run/test_metrics.py",
    "run/test_interpolation.py",
    "run/test_pictures.py",
)
BATCHES, FILES, WEIGHTS = "run/test_batches.py", "run/test_files.py", "run/test_export_weights.py"


class Mutant(NamedTuple):
    """One fault: in `file` the text `old`, which stands there once, becomes `new`."""

    file: str
    old: str
    new: str
    tests: str


TOOL_MUTANTS = [
    Mutant(*fault)
    for fault in (
        # what the tips do to a step
        ("minigan/noise.py", "1 - step / self.steps", "1 - step / (self.steps + 1)", NOISE),
        ("minigan/noise.py", "max(0.0, 1 -", "abs(1 -", NOISE),
        ("minigan/noise.py", "self.level(key.step)", "self.stddev", NOISE),
        ("minigan/gan.py", 'shown = gan.shown(images, z, "fakes, g")',
         "shown = (images, z[1]) if gan.conditional else images", TIPS),
        ("minigan/gan.py", 'self.noised(real, "real"), z_d, z_g)', "real, z_d, z_g)", TIPS),
        ("minigan/gan.py", "(self.step_count + 1) % self.d_steps == 0",
         "self.step_count % self.d_steps == 0", TIPS),
        ("minigan/gan.py", "return (noisy, images[1]) if self.conditional else noisy",
         "return (noisy, images[1] + 1) if self.conditional else noisy", TIPS),
        ("minigan/optimizers.py", "grads = clipped(grads, self.global_clipnorm)",
         "grads = dict(grads)", TIPS),
        # signs of collapse
        (RUN + "watch.py", "group.var(axis=0, ddof=1)", "group.var(axis=0)", WATCH),
        (RUN + "watch.py", "groups = [images[labels == label] for label in np.unique(labels)]",
         "groups = [images]", WATCH),
        (RUN + "watch.py", 'row["d_loss"] - row.get("penalty", 0.0) - least',
         'row["d_loss"] - least', WATCH),
        (RUN + "watch.py", "max(1e-3 * largest, 1e-6)", "max(1e-3 * largest, 0)", WATCH),
        (RUN + "watch.py", 'or row["step"] >= 1000', 'or row["step"] >= 0', WATCH),
        (RUN + "watch.py", "for ago in range(1, 6) if now", "for ago in range(1, 2) if now", WATCH),
        (RUN + "watch.py", "a + flip * (b - a)", "a", WATCH),
        # a run and its resumption
        (RUN + "loop.py", "self.first + epoch * self.steps)", "self.first)", ORDER),
        (RUN + "loop.py", "< 0.5", "< 1.5", MIRROR),
        (RUN + "loop.py", "real[turned][:, :, ::-1]", "real[turned][:, ::-1]", MIRROR),
        (RUN + "loop.py", 'Key(self.gan.seed, "mirror", step)', 'Key(self.gan.seed, "mirror")',
         MIRROR),
        (RUN + "loop.py", "partial = list(meter.sums.items()) if meter else []", "partial = []",
         RESUME),
        (RUN + "state.py", 'opt.state = {"t": updates[name],', 'opt.state = {"t": 0,', RESUME),
        (RUN + "state.py", "    gan.step_count = step\n", "", RESUME),
        (RUN + "state.py", 'networks if gan.ema is None else {**networks, "average": gan.sampler}',
         "networks", RESUME),
        (RUN + "state.py", "if header.pop(\"digest\", None) != _digest(header, arrays):",
         "if not header.pop(\"digest\", None):", RESUME),
        (RUN + "folder.py", "self.states()[keep:]", "self.states()[:-keep]", RESUME),
        (RUN + "folder.py", 'row["epoch"] <= epoch]', 'row["epoch"] <= epoch + 1]', RESUME),
        (RUN + "train.py", "_refuse_other_data(config, loop.batches)", "pass", RESUME),
        (RUN + "checkpoint.py", "write(target, file.get_tensor(name))", "pass", CHECKPOINT),
        (RUN + "files.py", "os.replace(temporary, target)", "target.write_bytes(b'')", FILES),
        (RUN + "files.py", "file.truncate(before)", "pass", FILES),
        # data
        (RUN + "batches.py", "np.linspace(*self.value_range, 256)",
         "np.linspace(*self.value_range, 257)", BATCHES),
        (RUN + "pictures.py", "if not image.has_transparency_data:", "if True:", PICTURES),
        (RUN + "pictures.py", "ImageOps.exif_transpose(image, in_place=True)", "pass", PICTURES),
        (RUN + "pictures.py", "(pixels >> 8)", "pixels", PICTURES),
        (RUN + "pictures.py", 'size, lanczos = (self.width, self.height)',
         'size, lanczos = (self.height, self.width)', PICTURES),
        # looking
        (RUN + "interpolation.py", "length * (np.sin", "a_length * (np.sin", PATHS),
        (RUN + "interpolation.py", "np.roll(points, -1, axis=0)", "np.roll(points, 1, axis=0)",
         PATHS),
        (RUN + "interpolation.py", "w = 2 * np.arctan2(", "w = np.arctan2(", PATHS),
        (RUN + "metrics.py", "root @ s_b @ root", "s_a @ s_b", METRICS),
        (RUN + "metrics.py", "inside(real, samples, radii(samples, k))",
         "inside(real, samples, radii(real, k))", METRICS),
        (RUN + "metrics.py", "real[small], radius[small]", "real, radius", METRICS),
        (RUN + "metrics.py", "balls.mean() / k", "balls.mean()", METRICS),
        (RUN + "metrics.py", '(held > 0).mean()', '(balls > 0).mean()', METRICS),
        (RUN + "neighbours.py", "np.arange(len(points)))[:, -1]", "None)[:, -1]", METRICS),
        # to and from other frameworks
        (RUN + "exchange.py", "return ndim - 1, ndim - 2, *range(ndim - 2)",
         "return ndim - 2, ndim - 1, *range(ndim - 2)", WEIGHTS),
        (RUN + "exchange.py", "array.transpose(np.argsort(slot.axes))",
         "array.reshape(slot.array.shape)", WEIGHTS),
    )
]  # fmt: skip
