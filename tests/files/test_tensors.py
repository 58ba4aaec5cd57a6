import json
import os
import struct

import numpy as np
import pytest
from accidents import flip_each_bit
from safetensors import safe_open
from safetensors.numpy import save_file

from cnnx.files.tensors import DTYPES, read_tensors, write_tensors


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda file: None)


@pytest.fixture
def tensors(rng):
    arrays = {name: rng.integers(0, 2, (2, 3)).astype(name) for name in DTYPES}
    return {**arrays, "none": np.zeros((0, 4), np.float32), "one": np.array(7.0), "turned": rng.random((3, 2)).T}


def test_the_safetensors_library_reads_what_is_written(tmp_path, tensors):
    write_tensors(tmp_path / "file", tensors, {"a": "b", "é": '"'})
    with safe_open(tmp_path / "file", framework="numpy") as file:
        metadata = file.metadata()
        read = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    assert metadata.pop("checksum")
    assert metadata == {"a": "b", "é": '"'}
    assert read.keys() == tensors.keys()
    for name, value in tensors.items():
        assert read[name].dtype == value.dtype
        np.testing.assert_array_equal(read[name], value)


def test_what_the_safetensors_library_writes_is_read(tmp_path, tensors):
    tensors["turned"] = tensors["turned"].copy()
    save_file(tensors, tmp_path / "file", {"a": "b"})
    metadata, read = read_tensors(tmp_path / "file")
    assert metadata == {"a": "b"}
    for name, value in tensors.items():
        assert (read[name].dtype, read[name].shape) == (value.dtype, value.shape)
        np.testing.assert_array_equal(read[name], value)
        assert read[name].flags.writeable
        assert read[name].flags.aligned


def test_the_same_tensors_are_the_same_bytes(tmp_path, tensors):
    for name in "ab":
        write_tensors(tmp_path / name, tensors, {key: key for key in "tensors"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_big_endian_arrays_are_written_with_their_values(tmp_path):
    write_tensors(tmp_path / "file", {"a": np.arange(3, dtype=">i4")}, {})
    np.testing.assert_array_equal(read_tensors(tmp_path / "file")[1]["a"], [0, 1, 2])


def test_arrays_without_a_place_in_the_format_are_not_written(tmp_path):
    for value in (np.array(["text"]), np.array([1j]), np.array([None])):
        with pytest.raises(TypeError, match=r"a: expected an array of numbers, got dtype"):
            write_tensors(tmp_path / "file", {"a": value}, {})
    with pytest.raises(ValueError, match="expected at most 1000000 values, got"):
        write_tensors(tmp_path / "file", {}, {"list": str(list(range(1_000_002)))})
    assert not list(tmp_path.iterdir())


def refused(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"file: not a safetensors file: "):
        read_tensors(path)


def test_every_flipped_bit_and_every_truncation_is_refused(tmp_path):
    write_tensors(tmp_path / "file", {"W": np.arange(6.0).reshape(2, 3), "b": np.arange(3, dtype="f4")}, {"cnnx": "{}"})
    content = (tmp_path / "file").read_bytes()
    read_tensors(tmp_path / "file")
    for place, bit in flip_each_bit(tmp_path / "file"):
        try:
            metadata, _ = read_tensors(tmp_path / "file")
        except ValueError:
            continue
        # The name of the checksum was hit: who needs one finds none.
        assert "checksum" not in metadata, (place, bit)
    for length in range(len(content)):
        refused(tmp_path / "file", content[:length])
    refused(tmp_path / "file", content + b"\0")


def made(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(**changes):
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


TEN = bytes(8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "header: expected a length that 0 bytes can hold"),
        (b"\x08\0\0", "header: expected a length"),
        (made({}, length=2**63), "header: expected a length that 10 bytes can hold"),
        (made({}, length=2**64 - 1), "header: expected a length"),
        (made({}, length=3), "header: expected a length"),
        (made(b"", length=0), "Expecting value"),
        (made(b"[]"), "header: expected a JSON object"),
        (made(b"7"), "header: expected a JSON object"),
        (made(b"{"), "Expecting property name"),
        (made(b"{}{}"), "Extra data"),
        (made(b"\xff\xfe{}"), "can't decode"),
        (made(b'{"a": 1, "a": 1}'), "expected each key once"),
        (made(b'{"a":' * 50_000), "nested without end|Expecting"),
        (made(b"[" * 100_001), "at most 100000 lists and objects, got 100001"),
        (made(b"{" + b"," * 1_000_001), "at most 1000000 values, got 1000001"),
        (made({"__metadata__": []}), "metadata: expected a text for each key"),
        (made({"__metadata__": {"a": 1}}), "metadata: expected a text for each key"),
        (made({"__metadata__": {"a": None}}), "metadata: expected a text for each key"),
        (made({"__metadata__": {"checksum": ""}}), "checksum: expected , as saved, got"),
        (made({"__metadata__": {"checksum": "0" * 64}}), "checksum: expected 0+, as saved, got [0-9a-f]{64}: the file"),
        (made(tensor(dtype="BOOL", shape=[8]), b"\2" * 8), "tensor 'a': expected 0 or 1 for each BOOL"),
    ],
)
def test_a_file_that_is_none_is_refused_with_what_is_wrong(tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=rf"(?s)file: not a safetensors file: .*({message})"):
        read_tensors(tmp_path / "file")


@pytest.mark.parametrize(
    "content",
    [
        made({"a": 1}),
        made({"a": {"dtype": "F32"}}),
        made(tensor(dtype="F33"), TEN),
        made(tensor(dtype="(,)f4"), TEN),
        made(tensor(dtype=["F32"]), TEN),
        made(tensor(dtype=None), TEN),
        made(tensor(shape=2), TEN),
        made(tensor(shape=[-2]), TEN),
        made(tensor(shape=[2.0]), TEN),
        made(tensor(shape=[True]), TEN),
        made(tensor(shape=[10**400]), TEN),
        made(tensor(shape=[0, 2**62 - 1, 2**62 - 1], data_offsets=[0, 0])),
        made(tensor(shape=[1] * 80, data_offsets=[0, 4]), bytes(4)),
        made(tensor(shape=[3]), TEN),
        made(tensor(shape=[2**31, 2**31]), TEN),
        made(tensor(data_offsets=[0, 8, 8]), TEN),
        made(tensor(data_offsets=[8, 0]), TEN),
        made(tensor(data_offsets=[-8, 0]), TEN),
        made(tensor(data_offsets="08"), TEN),
        made(tensor(data_offsets=[4, 12]), bytes(12)),
        made(tensor() | {"b": tensor()["a"]}, TEN),
        made(tensor(), bytes(7)),
        made(tensor(), bytes(9)),
        made(tensor(shape=[2**40], data_offsets=[0, 2**42]), TEN),
        made(tensor(dtype="BF16", shape=[4]), TEN),
        made(tensor(dtype="C64", shape=[1]), TEN),
    ],
)
def test_a_file_whose_header_does_not_fit_its_tensors_is_refused(tmp_path, content):
    refused(tmp_path / "file", content)


def test_a_file_of_many_terabytes_is_not_allocated(tmp_path):
    with open(tmp_path / "file", "wb") as file:
        file.write(made(tensor(shape=[2**41], data_offsets=[0, 2**43])))
        try:
            file.truncate(file.tell() + 2**43)
        except OSError:
            pytest.skip("the file system has no files of this size")
    with pytest.raises(ValueError, match=r"87960930\d+ bytes do not fit into memory"):
        read_tensors(tmp_path / "file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path, kind):
    path = {"pipe": tmp_path / "pipe", "device": "/dev/zero", "folder": tmp_path}[kind]
    if kind == "pipe":
        os.mkfifo(path)
    with pytest.raises((ValueError, IsADirectoryError), match=r"expected a regular file, got a|Is a directory"):
        read_tensors(path)
