"""MNIST: 60,000 + 10,000 handwritten digits, downloaded once.

Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", CC BY-SA 3.0.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..spelling import did_you_mean
from . import idx
from .batches import Dataset
from .files import WriteError

MIRRORS = (  # tried in this order
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
SPLITS = {"train": "train", "test": "t10k"}
MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
TIMEOUT = 30  # seconds that a server may be silent


def mnist(split: str = "train", progress: bool = False) -> Dataset:
    """The handwritten digits of MNIST, from the cache or, the first time, from the network.

    split: "train" (60,000) or "test" (10,000). progress: show a bar for the download.
    Returns images, uint8 (N, 28, 28, 1), white on black, and labels, int64 (N,).
    The cache is the folder in the environment variable MINIGAN_CACHE, by default the user's cache
    folder. Its files are compared with their checksums; once they are there nothing is downloaded.
    Raises OSError when no mirror gives them, WriteError when they cannot be kept, ValueError for
    another split.
    """
    if split not in SPLITS:
        hint = did_you_mean(split, [*SPLITS])
        raise ValueError(f"MNIST has a 'train' and a 'test' split, not {split!r}{hint}")
    images, labels = (
        _fetch(f"{SPLITS[split]}-{kind}-ubyte.gz", progress)
        for kind in ("images-idx3", "labels-idx1")
    )
    pixels, numbers = idx.read(images, labels)
    return Dataset(pixels, numbers, range(10))


@contextmanager
def unannounced() -> Iterator[None]:
    """Inside the block downloads are not told on stderr."""
    import pooch

    logger = pooch.get_logger()
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def cache() -> Path:
    """The folder that keeps downloads: MINIGAN_CACHE, or one in the user's cache folder."""
    import pooch

    return Path(os.environ.get("MINIGAN_CACHE") or pooch.os_cache("minigan"))


def _fetch(name: str, progress: bool) -> Path:
    """The file in the cache, downloaded if it is not there or damaged."""
    import pooch
    from requests import RequestException

    target, failures = cache() / name, []
    for mirror in MIRRORS:
        try:
            # Says on stderr what it downloads and where to. The file has a temporary name until
            # its checksum is found right.
            pooch.retrieve(
                mirror + name,
                known_hash=f"md5:{MD5[name]}",
                fname=name,
                path=cache(),
                downloader=pooch.HTTPDownloader(progressbar=progress, timeout=TIMEOUT),
            )
            return target
        except RequestException as error:
            failures.append(f"{mirror} ({_reason(error)})")
        except ValueError:  # pooch's
            failures.append(f"{mirror} (another file: its checksum is wrong)")
        except OSError as error:
            raise WriteError(target, error) from error
    damaged = ", where it is damaged" if target.exists() else ""
    raise OSError(
        f"{name} of MNIST is not in {cache()}{damaged}, and could not be downloaded:\n"
        f"{'; '.join(failures)}.\n"
        f"Put the four .gz files there (MINIGAN_CACHE names another folder), or give a folder that "
        "has them: --data FOLDER."
    )


def _reason(error: Exception) -> str:
    from requests import ConnectionError, HTTPError, Timeout

    if isinstance(error, HTTPError) and error.response is not None:
        return f"status {error.response.status_code}"
    if isinstance(error, Timeout):
        return f"no answer for {TIMEOUT} seconds"
    return "no connection" if isinstance(error, ConnectionError) else type(error).__name__
