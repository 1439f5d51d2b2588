"""minigan.run.mnist: mirrors, checksums and the cache, against a server of the test's own."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

import minigan as mg
from minigan.run import files, mnist
from tests.run.test_idx import encoded


def fake_files():
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("t10k", 5)):
        pixels = rng.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        yield f"{split}-images-idx3-ubyte.gz", gzip.compress(encoded(pixels))
        yield f"{split}-labels-idx1-ubyte.gz", gzip.compress(encoded(labels))


FILES = dict(fake_files())


class Mirror(BaseHTTPRequestHandler):
    """/good/ has the files; the others fail in the ways that servers do."""

    def do_GET(self):
        self.server.asked.append(self.path)
        kind, name = self.path.strip("/").split("/")
        body = FILES[name]
        if kind == "silent":
            time.sleep(1)
            return
        if kind.isdecimal():
            self.send_error(int(kind))
            return
        if kind == "other":
            body = b"<html>Log in to this network</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:-10] if kind == "cut" else body)

    def log_message(self, *rest):
        pass


@pytest.fixture(scope="module")
def running():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def mirrors(running, monkeypatch, tmp_path):
    """mirrors("404", "good") makes these the mirrors; returns the paths that are asked for."""
    monkeypatch.setenv("MINIGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    md5 = {name: hashlib.md5(data).hexdigest() for name, data in FILES.items()}
    monkeypatch.setattr(mnist, "MD5", md5)
    monkeypatch.setattr(mnist, "TIMEOUT", 0.3)

    def use(*kinds):
        host = f"http://127.0.0.1:{running.server_address[1]}"
        urls = [f"{host}/{kind}/" for kind in kinds if kind != "refused"]
        if "refused" in kinds:
            urls.insert(kinds.index("refused"), "http://127.0.0.1:9/")
        monkeypatch.setattr(mnist, "MIRRORS", tuple(urls))
        running.asked.clear()
        return running.asked

    return use


def names(folder):
    return sorted(os.listdir(folder))


def test_the_registry_is_that_of_the_four_files():
    assert sorted(mnist.MD5) == sorted(FILES)
    assert all(len(bytes.fromhex(md5)) == 16 for md5 in mnist.MD5.values())
    assert all(url.startswith("https://") and url.endswith("/") for url in mnist.MIRRORS)


def test_downloaded_once_and_read_offline_after(mirrors, tmp_path):
    asked = mirrors("good")
    images, labels = data = mg.datasets.mnist()
    assert images.shape == (12, 28, 28, 1) and images.dtype == np.uint8
    assert labels.tolist() == [*range(10), 0, 1] and labels.dtype == np.int64
    assert data.names == tuple("0123456789")
    assert asked == ["/good/train-images-idx3-ubyte.gz", "/good/train-labels-idx1-ubyte.gz"]
    assert names(tmp_path / "cache") == [
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
    ]
    asked = mirrors("refused")
    again = mg.datasets.load("mnist", size=32, channels=3)
    assert again[0].shape == (12, 32, 32, 3) and again.names == data.names
    np.testing.assert_array_equal(again[1], labels)


def test_the_other_split(mirrors):
    mirrors("good")
    images, labels = mg.datasets.mnist(split="test")
    assert images.shape == (5, 28, 28, 1) and labels.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="'train' and a 'test' split, not 'tests'.*mean 'test'"):
        mg.datasets.mnist("tests")


@pytest.mark.parametrize("first", ["403", "404", "500", "refused", "other", "cut", "silent"])
def test_a_mirror_that_fails_gives_way_to_the_next(mirrors, tmp_path, first):
    asked = mirrors(first, "good")
    assert len(mg.datasets.mnist()[0]) == 12
    assert asked[-1] == "/good/train-labels-idx1-ubyte.gz"
    assert len(asked) == (2 if first == "refused" else 4)
    assert len(names(tmp_path / "cache")) == 2  # no temporary file


def test_a_damaged_file_in_the_cache_is_downloaded_again(mirrors, tmp_path):
    mirrors("good")
    mg.datasets.mnist()
    path = tmp_path / "cache" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-5])
    mirrors("refused")
    with pytest.raises(OSError, match="where it is damaged, and could not be downloaded"):
        mg.datasets.mnist()
    asked = mirrors("good")
    assert len(mg.datasets.mnist()[0]) == 12
    assert asked == ["/good/train-images-idx3-ubyte.gz"]


def test_when_all_fail_the_error_says_how_to_go_on(mirrors, tmp_path):
    mirrors("403", "refused", "other", "silent")
    with pytest.raises(OSError) as caught:
        mg.datasets.mnist()
    text = str(caught.value)
    assert len(text.splitlines()) <= 5
    for words in (
        "train-images-idx3-ubyte.gz",
        str(tmp_path / "cache"),
        "/403/ (status 403)",
        ":9/ (no connection)",
        "/other/ (another file: its checksum is wrong)",
        "/silent/ (no answer for 0.3 seconds)",
        "MINIGAN_CACHE",
        "--data FOLDER",
    ):
        assert words in text
    assert names(tmp_path / "cache") == []


def test_files_put_into_the_cache_by_hand(mirrors, tmp_path):
    mirrors("refused")
    (tmp_path / "cache").mkdir()
    for name, data in FILES.items():
        (tmp_path / "cache" / name).write_bytes(data)
    assert len(mg.datasets.mnist("test")[0]) == 5
    assert len(mg.datasets.load(tmp_path / "cache")[0]) == 12


def test_a_cache_that_cannot_be_written(mirrors, tmp_path, monkeypatch):
    mirrors("good")
    (tmp_path / "file").touch()
    monkeypatch.setenv("MINIGAN_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(files.WriteError, match="cannot write .*a part of its path is a file"):
        mg.datasets.mnist()


def test_ctrl_c_while_downloading_leaves_nothing(mirrors, tmp_path, monkeypatch):
    mirrors("good")

    def interrupted(*rest, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr("requests.models.Response.iter_content", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mg.datasets.mnist()
    assert names(tmp_path / "cache") == []


def test_the_cache_is_the_users_unless_told(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("MINIGAN_CACHE", raising=False)
    assert mnist.cache().name in ("minigan", "Cache")
    if sys.platform == "linux":
        assert mnist.cache() == tmp_path / "minigan"
    monkeypatch.setenv("MINIGAN_CACHE", str(tmp_path / "mine"))
    assert mnist.cache() == tmp_path / "mine"


def test_a_download_says_so_on_stderr(mirrors, running, tmp_path):
    mirrors("good")
    script = f"""
        from minigan.run import mnist
        mnist.MIRRORS, mnist.MD5 = {mnist.MIRRORS!r}, {mnist.MD5!r}
        mnist.mnist()
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    for lines in (2, 0):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        assert done.stderr.count("Downloading data from") == lines, done.stderr
        assert not lines or str(tmp_path / "cache" / "train-labels-idx1-ubyte.gz") in done.stderr


@pytest.mark.parametrize("words, lines", [((), 2), (("--quiet",), 0), (("--json",), 0)])
def test_a_quiet_command_does_not_tell_of_downloads(mirrors, run, monkeypatch, words, lines):
    import pooch

    mirrors("good")
    told, handler = [], logging.Handler()
    handler.emit = told.append
    monkeypatch.setattr(pooch.get_logger(), "handlers", [handler])
    words = ("--data", "mnist", "--dry-run", "--batch-size", 4, *words)
    assert run("train", "mlp_digits", *words)[0] == 0
    assert len(told) == lines


def test_nothing_is_downloaded_unless_asked(mirrors):
    asked = mirrors("good")
    mg.datasets.digits()
    with contextlib.suppress(ValueError):
        mg.datasets.load("mnits")
    assert asked == []
