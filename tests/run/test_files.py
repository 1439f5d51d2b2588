"""minigan.run.files: whole files or none."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap

import pytest

from minigan.run import files


def names(folder):
    return sorted(os.listdir(folder))


def test_write_bytes_replaces_the_whole_file(tmp_path):
    path = tmp_path / "a.bin"
    files.write_bytes(path, b"x" * 1000)
    files.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a.bin"]


def test_full_disk_keeps_the_old_file_and_removes_the_temporary(tmp_path, full_disk):
    path = tmp_path / "a.bin"
    files.write_bytes(path, b"old")
    full_disk()
    with pytest.raises(files.WriteError, match="disk is full") as caught:
        files.write_bytes(path, b"new")
    assert caught.value.errno == errno.ENOSPC
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("code, words", [(errno.EROFS, "read-only"), (errno.EACCES, "permission")])
def test_failed_rename_keeps_the_old_file(tmp_path, monkeypatch, code, words):
    path = tmp_path / "a.bin"
    files.write_bytes(path, b"old")

    def refuse(source, target):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(files.WriteError, match=words):
        files.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_interrupt_in_the_middle_removes_the_temporary(tmp_path, monkeypatch):
    def interrupt(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write_bytes(tmp_path / "a.bin", b"new")
    assert names(tmp_path) == []


def test_missing_folder_and_file_in_the_way(tmp_path):
    with pytest.raises(files.WriteError, match="folder does not exist"):
        files.write_bytes(tmp_path / "no" / "a.bin", b"")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(files.WriteError, match="is a file, not a folder"):
        files.write_bytes(tmp_path / "file" / "a.bin", b"")
    with pytest.raises(files.WriteError, match="cannot write"):
        files.make_folder(tmp_path / "file" / "run")


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="no devices")
def test_a_device_is_not_replaced():
    with pytest.raises(files.WriteError, match="not a regular file"):
        files.write_bytes("/dev/null", b"")
    assert not os.path.isfile("/dev/null")


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "target").write_bytes(b"old")
    try:
        (tmp_path / "link").symlink_to(tmp_path / "target")
    except OSError:
        pytest.skip("no symbolic links here")
    files.write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


def test_json_refuses_nan_before_writing(tmp_path):
    files.write_json(tmp_path / "a.json", {"a": [1, 2.5]})
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "a.json", {"a": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1, 2.5]}


def test_a_line_that_fails_is_taken_back(tmp_path, full_disk):
    path = tmp_path / "log.jsonl"
    files.append_json(path, {"epoch": 1})
    full_disk()
    with pytest.raises(files.WriteError, match="disk is full"):
        files.append_json(path, {"epoch": 2})
    assert path.read_text() == '{"epoch": 1}\n'


@pytest.mark.skipif(sys.platform == "win32", reason="no resource limits")
def test_a_real_limit_on_size_keeps_everything_written_before(tmp_path):
    script = """
        import resource, signal, sys
        from minigan.run import files
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        files.write_bytes("weights", b"o" * 1000)
        files.append_json("log", {"epoch": 1})
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        for write in (
            lambda: files.write_bytes("weights", b"n" * 10000),
            lambda: files.append_json("log", {"epoch": "2" * 10000}),
        ):
            try:
                write()
            except files.WriteError as error:
                print(error)
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("size limit") == 2
    assert (tmp_path / "weights").read_bytes() == b"o" * 1000
    assert (tmp_path / "log").read_text() == '{"epoch": 1}\n'
    assert names(tmp_path) == ["log", "weights"]


def test_a_file_that_fails_half_way_keeps_the_old_one(tmp_path):
    path = tmp_path / "a.bin"
    with files.replacing(path) as file:
        file.write(b"ol")
        file.write(b"d")
    with pytest.raises(ValueError, match="no more"):
        with files.replacing(path) as file:
            file.write(b"new")
            raise ValueError("no more")
    with pytest.raises(files.WriteError, match=r"a\.bin: the disk is full"):
        with files.replacing(path) as file:
            raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_bytes() == b"old" and names(tmp_path) == ["a.bin"]


def test_write_beside_keeps_what_is_there(tmp_path):
    path = tmp_path / "a.b.png"
    assert files.write_beside(path, b"one") == path
    assert files.write_beside(path, b"one") == path
    (tmp_path / "a.b-2.png").mkdir()
    assert files.write_beside(path, b"two") == tmp_path / "a.b-3.png"
    assert files.write_beside(path, b"two") == tmp_path / "a.b-3.png"
    assert files.write_beside(str(path), b"three") == tmp_path / "a.b-4.png"
    assert path.read_bytes() == b"one"
    assert (tmp_path / "a.b-3.png").read_bytes() == b"two"
    assert names(tmp_path) == ["a.b-2.png", "a.b-3.png", "a.b-4.png", "a.b.png"]
