import errno
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cnnx.files.writing import previous_of, write_file

posix = pytest.mark.skipif(os.name == "nt", reason="of POSIX")


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


@posix
def test_a_symbolic_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real/file")
    (tmp_path / "dangling").symlink_to("real/new")
    for link in ("link", "dangling"):
        write_file(tmp_path / link, [b"new", memoryview(b"er")])
        assert (tmp_path / link).is_symlink()
        assert (tmp_path / link).read_bytes() == b"newer"
    assert names(tmp_path / "real") == ["file", "new"]
    assert names(tmp_path) == ["dangling", "link", "real"]


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_file_keeps_its_mode(tmp_path, mode):
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "file").chmod(mode)
    write_file(tmp_path / "file", [b"new"])
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


@posix
def test_a_new_file_has_the_mode_that_the_process_gives(tmp_path):
    old = os.umask(0o027)
    try:
        write_file(tmp_path / "file", [b"new"])
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everything")
def test_a_file_that_may_not_be_written_stays(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "file").chmod(0o400)
    with pytest.raises(PermissionError, match="file"):
        write_file(tmp_path / "file", [b"new"])
    assert (tmp_path / "file").read_bytes() == b"old"


@posix
def test_a_device_is_written_into(tmp_path):
    write_file("/dev/null", [b"new"])
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@posix
def test_a_pipe_is_written_into_and_one_that_nobody_reads_is_an_error_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match=r"nobody reads from this pipe: .*pipe'"):
        write_file(tmp_path / "pipe", [b"new"])
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    for _ in range(1000):
        try:
            write_file(tmp_path / "pipe", [b"x" * 200_000])
            break
        except OSError:
            time.sleep(0.01)
    reader.join()
    assert read == [b"x" * 200_000]
    assert names(tmp_path) == ["pipe"]


def test_a_missing_folder_and_a_folder_in_the_way_are_errors_that_name_the_path(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.file'$"):
        write_file(tmp_path / "nowhere" / "file", [b"new"])
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"folder'$"):
        write_file(tmp_path / "folder", [b"new"])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("call", ["os.open", "os.fsync", "os.replace", "os.chmod", "write"])
def test_a_failure_at_any_moment_leaves_the_old_file_whole_and_names_the_path(tmp_path, monkeypatch, number, call):
    (tmp_path / "file").write_bytes(b"old")

    def fail(*_, **__):
        raise OSError(number, os.strerror(number), ".cnnx-temporary.part")

    def chunks():
        yield b"new"
        if call == "write":
            fail()

    with monkeypatch.context() as patch:
        if call != "write":
            patch.setattr(call, fail)
        with pytest.raises(OSError, match=r"file'$") as error:
            write_file(tmp_path / "file", chunks())
    assert error.value.errno == number
    assert "cnnx-" not in str(error.value)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


CALLS = ("open", "fsync", "replace", "chmod", "chown", "link", "remove", "fstat", "scandir")


def failing(monkeypatch, number, place):
    """Have one call of the system fail, the one at this place among all that a save makes; whether it was reached."""
    made = [0]

    def watched(call):
        def instead(*arguments, **named):
            made[0] += 1
            if made[0] == place:
                raise OSError(number, os.strerror(number), ".cnnx-temporary.part")
            return call(*arguments, **named)

        return instead

    for name in CALLS:
        if hasattr(os, name):
            monkeypatch.setattr(os, name, watched(getattr(os, name)))
    return lambda: made[0] >= place


def error_of(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return error
    return None


@posix
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS])
def test_whichever_call_fails_both_files_are_whole_and_a_failure_that_is_no_error_lost_nothing(
    tmp_path, monkeypatch, number
):
    reached, place, failed = True, 0, 0
    while reached:
        place += 1
        for name in names(tmp_path):
            (tmp_path / name).unlink()
        for content in (b"oldest", b"old"):
            write_file(tmp_path / "file", [content], keep_previous=True)
        with monkeypatch.context() as patch:
            was_reached = failing(patch, number, place)
            error = error_of(write_file, tmp_path / "file", [b"n", b"ew"], True)
            reached = was_reached()
        if error is None:
            assert (tmp_path / "file").read_bytes() == b"new"
        else:
            failed += 1
            assert error.errno == number
            assert str(error).endswith("file'")
        # Once it has moved it stays, though its folder could not be flushed.
        assert (tmp_path / "file").read_bytes() in (b"old", b"new")
        assert (tmp_path / "file.previous").read_bytes() in (b"oldest", b"old")
        write_file(tmp_path / "file", [b"newest"], keep_previous=True)
        assert names(tmp_path) == ["file", "file.previous"]
    assert place > 8
    assert failed > 4


@posix
def test_a_disk_that_is_full_after_any_number_of_bytes_leaves_the_old_file_whole(tmp_path):
    import resource

    (tmp_path / "file").write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (*range(0, 40), 8191, 8192, 8193, 99_999):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        try:
            with pytest.raises(OSError, match=r"file'$") as error:
                write_file(tmp_path / "file", [b"new", memoryview(b"x" * 99_990), b"newest!"], keep_previous=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert error.value.errno == errno.EFBIG
        assert (tmp_path / "file").read_bytes() == b"old"
        assert names(tmp_path) == ["file"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")
def test_a_full_disk_names_the_path():
    with pytest.raises(OSError, match="/dev/full") as error:
        write_file("/dev/full", [b"new"])
    assert error.value.errno == errno.ENOSPC


def test_the_folder_is_flushed_after_the_file_has_moved(tmp_path, monkeypatch):
    if os.name == "nt":
        pytest.skip("Windows flushes no folders")
    calls = []
    replace = os.replace
    monkeypatch.setattr(
        "os.fsync", lambda file: calls.append("folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "file")
    )
    monkeypatch.setattr("os.replace", lambda *paths: (calls.append("move"), replace(*paths)))
    write_file(tmp_path / "file", [b"new"])
    assert calls == ["file", "move", "folder"]


def test_the_name_beside_cannot_be_foreseen_and_no_link_is_followed(tmp_path, monkeypatch):
    seen = []
    create = os.open

    def watch(path, flags, *mode):
        if flags & os.O_CREAT:
            seen.append((path, flags))
        return create(path, flags, *mode)

    monkeypatch.setattr("os.open", watch)
    write_file(tmp_path / "file", [b"1"])
    write_file(tmp_path / "file", [b"2"])
    assert len({path for path, _ in seen}) == 2
    assert all(flags & os.O_EXCL for _, flags in seen)


@posix
def test_what_killed_saves_left_is_cleared_and_what_is_being_written_is_not(tmp_path):
    left = tmp_path / ".cnnx-0123.part"
    left.write_bytes(b"half")
    (tmp_path / ".cnnx-link.part").symlink_to("mine")
    (tmp_path / "mine").write_bytes(b"mine")

    def chunks():
        assert not left.exists()
        inside = {name for name in names(tmp_path) if name.endswith(".part")}
        write_file(tmp_path / "other", [b"new"])
        assert inside <= set(names(tmp_path))
        yield b"new"

    write_file(tmp_path / "file", chunks())
    assert names(tmp_path) == [".cnnx-link.part", "file", "mine", "other"]
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_threads_that_save_to_one_path_do_not_disturb_each_other(tmp_path):
    errors = []

    def save(letter):
        try:
            for _ in range(30):
                write_file(tmp_path / "file", [letter * 10_000] * 3)
                content = (tmp_path / "file").read_bytes()
                assert content == content[:1] * 30_000
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=save, args=(bytes([65 + index]),)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert names(tmp_path) == ["file"]


def test_the_file_before_is_kept_where_it_is_asked_for(tmp_path):
    for content in (b"1", b"2", b"3"):
        write_file(tmp_path / "file", [content], keep_previous=True)
    assert (tmp_path / "file").read_bytes() == b"3"
    with open(previous_of(tmp_path / "file"), "rb") as file:
        assert file.read() == b"2"
    assert names(tmp_path) == ["file", "file.previous"]


@posix
def test_after_a_kill_at_any_moment_the_last_file_that_was_acknowledged_or_a_newer_one_is_there():
    above = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", "kills", "--count", "30"], cwd=above, capture_output=True, text=True
    )
    assert "30 kills: each time the file was whole" in done.stdout, done.stderr
