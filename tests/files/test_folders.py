"""What lies in folders of pictures."""

import os

import pytest

from cnnx.files.folders import class_name, files_below, subfolders


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def test_files_come_sorted_and_what_systems_leave_is_passed_over(tmp_path):
    kept = ["a.png", "b.png", "1/z.png", "1/deep/er/c.png", "2/a.png"]
    for name in (*kept, ".hidden", ".cache/a.png", "Thumbs.db", "1/DESKTOP.INI", "__MACOSX/1/a.png", "@eaDir/a.png"):
        touch(tmp_path / name)
    assert [str(path.relative_to(tmp_path)).replace(os.sep, "/") for path in files_below(tmp_path)] == kept
    assert [path.name for path in subfolders(tmp_path)] == ["1", "2"]


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_that_leads_in_a_circle_ends_nothing(tmp_path):
    touch(tmp_path / "a" / "1.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert [path.name for path in files_below(tmp_path)] == ["1.png", "up"]
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert [path.name for path in subfolders(tmp_path)] == ["a", "b"]


def test_a_name_that_is_no_utf_8_can_be_said(tmp_path):
    assert class_name(tmp_path / "Käfer 鳥") == "Käfer 鳥"
    assert class_name(tmp_path / "Ka\u0308fer") == "Käfer"
    if os.name == "posix":
        assert class_name(tmp_path / os.fsdecode(b"caf\xe9")) == r"caf\xe9"
        assert len(class_name(tmp_path / os.fsdecode(b"\xff" * 255))) == 1000
