"""Files as strangers would make them: `python -m tests.soak files --count 50000`.

Good files are changed at random, knowing what they are made of: bytes, headers, entries of JSON, shapes and offsets,
members of archives; checksums are mostly made right again, so that the rest is reached. Whatever comes is read or
refused with the one documented error, within a second and in 50 MB, and nothing is imported, executed or opened but the
file.
"""

import argparse
import copy
import gzip
import hashlib
import io
import json
import os
import random
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.ma  # NumPy's own, which it imports when it is first needed

import cnnx
from cnnx.callbacks import Checkpoint, EarlyStopping
from cnnx.files.images import FORMATS, pillow_is_quiet, read_head, read_pixels

from . import _onnx_files

SECOND, ROOM = 1.0, 50_000_000
STATM = Path("/proc/self/statm")
FORBIDDEN = ("compile", "exec", "import", "marshal", "os.system", "os.exec", "pickle", "socket", "subprocess", "urllib")
ODD = [
    *(0, 1, -1, 2, 3, 7, 64, 2**31 - 1, 2**31, 2**32, 2**53, 2**62, 2**63, 2**64, -(2**63), 10**30, 10**400),
    *(0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf"), True, False, None, [], {}, [[]], [1], {"a": 1}),
    *(
        "",
        "x",
        "W",
        "0",
        "00",
        "\u0660",
        "float32",
        "(,)f4",
        "U400000000000",
        "|O",
        "same",
        "ReluLayer",
        "cnnx",
        "é" * 50,
    ),
    *(["a"], {"layer": "ReluLayer"}, {"array": [1], "dtype": "u4"}, {"array": ["a"], "dtype": "U400000000"}),
]


# -- Changes ---------------------------------------------------------------------------------------------


def change_bytes(rng, content):
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        place = rng.randrange(len(content) + 1)
        match rng.randrange(5):
            case 0 if place < len(content):
                content[place] ^= 1 << rng.randrange(8)
            case 1:
                del content[place:]
            case 2:
                del content[place : place + rng.randrange(1, 9)]
            case 3:
                content[place:place] = rng.randbytes(rng.randrange(1, 9))
            case _:
                content[place : place + 4] = rng.choice((b"\xff" * 4, b"\0" * 4, b"\x80\0\0\0"))
    return bytes(content)


def places_of(tree):
    """Each place in a tree of lists and dicts: what holds it, and its key."""
    places, holders = [], [tree]
    while holders:
        holder = holders.pop()
        for key, value in holder.items() if isinstance(holder, dict) else enumerate(holder):
            places.append((holder, key))
            if isinstance(value, dict | list):
                holders.append(value)
    return places


def change_tree(rng, tree):
    """A few places of a tree of JSON values, changed where they are."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = places_of(tree)
        if not places:
            return
        holder, key = rng.choice(places)
        value = holder[key]
        match rng.randrange(8):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[rng.choice((*map(str, ODD[:8]), "extra", "W", f"{key} ", f"0{key}"))] = holder.pop(key)
            case 2 if isinstance(holder, list):
                holder[key:key] = [copy.deepcopy(value) for _ in range(rng.choice((1, 2, 40)))]
            case 3:
                other, place = rng.choice(places)
                holder[key] = copy.deepcopy(other[place])
            case 4 if type(value) in (int, float):
                holder[key] = rng.choice((value + 1, value - 1, -value, value * 2, value // 2, str(value)))
            case 5:
                for _ in range(rng.choice((1, 20, 300))):
                    value = [value] if rng.random() < 0.5 else {"layer": "ResidualLayer", "layers": [value]}
                holder[key] = value
            case _:
                holder[key] = copy.deepcopy(rng.choice(ODD))


def signed(header, data):
    """A safetensors file of this header, its checksum made right."""
    metadata = header.get("__metadata__")
    if isinstance(metadata, dict) and "checksum" in metadata:
        metadata["checksum"] = "0" * 64
    text = json.dumps(header).encode()
    length = struct.pack("<Q", len(text))
    return length + text.replace(b"0" * 64, hashlib.sha256(length + text + data).hexdigest().encode(), 1) + data


def change_safetensors(rng, content):
    if rng.random() < 0.1:
        return change_bytes(rng, content)
    count = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + count]), content[8 + count :]
    metadata = header["__metadata__"]
    name = next(key for key in metadata if key.startswith("cnnx"))
    kind = rng.random()
    try:
        if kind < 0.8:
            inner = json.loads(metadata[name])
            # Most of a checkpoint is the arguments of its run, which are only compared.
            arguments = {key: inner.pop(key) for key in list(inner) if key == "arguments" and rng.random() < 0.9}
            change_tree(rng, inner)
            inner |= arguments
            metadata[name] = json.dumps(inner)
        if kind > 0.7:
            change_tree(rng, header)
        if rng.random() < 0.1 and data:
            data = change_bytes(rng, data)
        return signed(header, data)
    except RecursionError:  # nested too deep to be written
        return change_bytes(rng, content)


def change_npz(rng, content):
    """Members, their headers, the way they are packed, and the archive's own bytes."""
    if rng.random() < 0.3:
        return change_bytes(rng, content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    name = rng.choice(sorted(members))
    member = members[name]
    match rng.randrange(5):
        case 0:
            members[name] = change_bytes(rng, member)
        case 1:
            members[name] = member[:10] + change_bytes(rng, member[10:128]) + member[128:]
        case 2:
            text = member[10:128].decode()
            for old, new in rng.sample(
                [
                    ("|u1", rng.choice(("|O", "(,)f4", "<f8", ">u2", "<U9", "<M8[s]"))),
                    ("(5,", f"({rng.choice((0, 4, 10**12, 10**20))},"),
                    *(("True", "1"), ("False", "True"), ("'shape'", "'size'"), ("{", "(" * 60)),
                ],
                2,
            ):
                text = text.replace(old, new)
            members[name] = member[:10] + text[:118].ljust(118).encode() + member[128:]
        case 3:
            del members[name]
        case _:
            members[rng.choice(("X_train.npy", "x_train", "../y_test.npy", "é.npy"))] = member
    file = io.BytesIO()
    kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    with zipfile.ZipFile(file, "w", rng.choices(kinds, (4, 4, 1, 1))[0]) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return file.getvalue() if rng.random() < 0.8 else change_bytes(rng, file.getvalue())


def change_idx(rng, content):
    content = bytearray(content)
    for place in rng.sample(range(16), rng.choice((0, 1, 2))):
        content[place] = rng.choice((0, 1, 2, 4, 8, 13, 14, 127, 128, 255))
    content = bytes(content) if rng.random() < 0.5 else change_bytes(rng, bytes(content))
    if rng.random() < 0.5:
        content = gzip.compress(content, 1)
        content = change_bytes(rng, content) if rng.random() < 0.3 else content
    return content


def change_csv(rng, content):
    if rng.random() < 0.7:
        words = content.replace(b"\n", b"\n,").split(b",")
        words[rng.randrange(len(words))] = rng.choice(
            (b"", b"256", b"-1", b"nan", b"1e9", b"1e400", b"x", b"label", b"\n")
        )
        content = b",".join(words).replace(b"\n,", b"\n")
    else:
        content = change_bytes(rng, content)
    if rng.random() < 0.3:
        content = gzip.compress(content, 1)
        content = change_bytes(rng, content) if rng.random() < 0.3 else content
    return content


def change_onnx(rng, content):
    return _onnx_files.change(rng, content, change_bytes)


# -- Good files, and how they are read ------------------------------------------------------------------


def network():
    return cnnx.Model(
        cnnx.ConvolutionLayer(filters=2, filter_size=3, padding="same"),
        cnnx.BatchNormLayer(),
        cnnx.ReluLayer(),
        cnnx.ResidualLayer(cnnx.DropoutLayer(rate=0.2), cnnx.DepthwiseConvolutionLayer(filter_size=1)),
        cnnx.PoolLayer(filter_size=2),
        cnnx.Flatten(),
        cnnx.DenseLayer(units=3),
        cnnx.SoftmaxLayer(),
    )


X = np.random.default_rng(0).standard_normal((12, 4, 4, 1)).astype(np.float32)
Y = np.arange(12) % 3


def models(folder):
    """Small files with many layers between them."""
    second = cnnx.Model(
        cnnx.StandardizeLayer(),
        cnnx.PaddingLayer(1),
        cnnx.TransposedConvolutionLayer(filters=2, filter_size=2),
        cnnx.GroupNormLayer(groups=1),
        cnnx.PReluLayer(),
        cnnx.UpsampleLayer(2),
        cnnx.CroppingLayer(1),
        cnnx.GlobalPoolLayer(),
        cnnx.LayerNormLayer(),
        cnnx.DenseLayer(units=3),
        cnnx.SigmoidLayer(),
    )
    for model in (network(), second):
        model.build((4, 4, 1), seed=0)
        model.save(folder / "good")
        yield (folder / "good").read_bytes()


def resumed(path, model, optimizer):
    """A run that goes on from a file."""
    callbacks = [EarlyStopping("loss", patience=3), *([Checkpoint(path, unit="step")] if path.name == "good" else [])]
    model.train(
        *(X, Y),
        optimizer=optimizer,
        batch_size=4,
        epochs=2,
        seed=0,
        verbose=False,
        callbacks=callbacks,
        resume=None if path.name == "good" else path,
    )


def checkpoints(folder):
    """One within an epoch and one after the last."""

    class Stop(cnnx.callbacks.Callback):
        comes_last = True

        def on_batch_end(self, batch, figures):
            kept.append((folder / "good").read_bytes())

    kept: list = []
    model = network()
    callbacks = [EarlyStopping("loss", patience=3), Checkpoint(folder / "good", unit="step"), Stop()]
    model.train(*(X, Y), optimizer=optimizer(), batch_size=4, epochs=2, seed=0, verbose=False, callbacks=callbacks)
    return [kept[1], kept[4]]


def optimizer():
    return cnnx.optimizers.Nadam(cnnx.schedules.ReduceOnPlateau(0.01, monitor="loss", patience=0), ema=0.9)


def load_model(path):
    cnnx.Model.load(path)


class Resume:
    """Resumes with one model and optimizer, which are as before after each refusal."""

    def __init__(self):
        self.model = network()
        self.model.build((4, 4, 1), seed=0)

    def __call__(self, path):
        rule = optimizer()
        before = self.everything(rule)
        try:
            resumed(path, self.model, rule)
        except ValueError as error:
            if not str(error).startswith("resume: ") or self.everything(rule) != before:
                raise RuntimeError(f"another error, or something has changed: {error}") from None
            raise
        except cnnx.errors.DivergenceError:
            pass  # weights of the file
        self.model.build((4, 4, 1), seed=0)

    def everything(self, rule):
        states = [value.tobytes() for layer in self.model.layers for value in layer.state.values()]
        rates = rule.learning_rate.state()
        return self.model.parameters.tobytes(), states, rule.steps, rule.progress, sorted(rule.state), rates


def npz_files(folder):
    images, labels = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3), np.arange(5)
    for save in (np.savez, np.savez_compressed):
        save(folder / "good.npz", X_train=images, y_train=labels, X_test=images, y_test=labels)
        yield (folder / "good.npz").read_bytes()


def idx_files(folder):
    yield b"\0\0\x08\x03" + struct.pack(">3I", 5, 4, 3) + bytes(60)
    yield b"\0\0\x0e\x01" + struct.pack(">I", 9) + bytes(72)


def csv_files(folder):
    yield b"label,a,b,c,d\n" + b"1,2,3,4,5\n" * 20
    yield b"1,2,3,4\r\n" * 20


def pictures(folder):
    """A small picture in each format that Pillow writes here, in bytes, 16 bits and with a palette."""
    from PIL import Image

    colours = np.arange(9 * 7 * 3, dtype=np.uint8).reshape(9, 7, 3)
    images = [Image.fromarray(colours), Image.fromarray(colours).convert("P"), Image.fromarray(colours[..., 0])]
    images.append(Image.fromarray(colours[..., 0].astype(np.uint16) << 8))
    for name in FORMATS:
        for image in images:
            with suppress(OSError, KeyError, ValueError):  # not every format has every kind
                image.save(folder / "good", name)
                yield (folder / "good").read_bytes()


def read_picture():
    def read(path):
        with pillow_is_quiet():
            read_head(path)
            return read_pixels(path, (8, 8, 3))

    return read


def onnx_reader():
    from cnnx.onnx import load

    def read(path):
        try:
            load(path)
        except ValueError as error:
            # Of those that end in one value or say nothing of their scores, the rest is read, too.
            if "output=" not in str(error):
                raise
            load(path, "regression")

    return read


KINDS = {
    "csv": (csv_files, change_csv, lambda: cnnx.datasets.load_csv),
    "pictures": (pictures, change_bytes, read_picture),
    "models": (models, change_safetensors, lambda: load_model),
    "checkpoints": (checkpoints, change_safetensors, Resume),
    "npz": (npz_files, change_npz, lambda: cnnx.datasets.load_npz),
    "idx": (idx_files, change_idx, lambda: cnnx.datasets.read_idx),
    "onnx": (_onnx_files.good_files, change_onnx, onnx_reader),
}


# -- The run ---------------------------------------------------------------------------------------------


class Watch:
    """What a file has the interpreter do while it is read; an audit hook stays for the life of a process."""

    def __init__(self):
        self.path, self.seen = None, []
        sys.addaudithook(self.hear)

    def hear(self, event, arguments):
        if self.path is None:
            return
        if event.startswith(FORBIDDEN) or (
            event == "open" and str(arguments[0]) not in (self.path, f"{self.path}.previous")
        ):
            self.seen.append((event, str(arguments)[:100]))


@contextmanager
def limited(room):
    """Inside, this process may take only so much address space beside what it has."""
    if not STATM.exists():  # not Linux
        yield
        return
    import resource

    pages = int(STATM.read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def soak(kind, count, seed, folder, watch):
    """How many changed files were read and refused, the longest time, and what should not have happened."""
    good, change, make_reader = KINDS[kind]
    files, reader, rng = list(good(folder)), make_reader(), random.Random(seed)
    path, outcomes, slowest, wrong = folder / "file", Counter(), 0.0, []
    for content in files:
        path.write_bytes(content)
        reader(path)  # imports what it needs
    for number in range(count):
        path.write_bytes(change(rng, rng.choice(files)))
        with limited(ROOM):
            # Of the processor's time: others may use the machine, too.
            watch.path, began = str(path), time.process_time()
            outcome, what = attempt(reader, path)
            watch.path, took = None, time.process_time() - began
        if took > SECOND:
            outcome, what = "wrong", f"{took:.1f} s for {path.stat().st_size} bytes"
        if watch.seen:
            outcome, what = "wrong", str(watch.seen)
            watch.seen.clear()
        if outcome == "wrong":
            wrong.append((number, what[:300]))
            (folder / f"{kind}-{seed}-{number}").write_bytes(path.read_bytes())
        outcomes[outcome] += 1
        slowest = max(slowest, took)
    return outcomes, slowest, wrong


def attempt(reader, path):
    """Whether a file was read, refused, or something else, and what was said."""
    try:
        reader(path)
    except ValueError as error:
        return "wrong" if "llocate" in str(error) or "MemoryError" in str(error) else "refused", str(error)
    except Exception as error:
        return "wrong", f"{type(error).__name__}: {error}"
    return "read", ""


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.soak files")
    parser.add_argument("--count", type=int, default=50_000, help="files of each kind")
    readable = [kind for kind in KINDS if kind != "onnx" or find_spec("onnx")]
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=readable)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", help="folder for files that were not treated as they should be")
    chosen = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    folder, watch, failed = Path(chosen.keep or tempfile.mkdtemp(prefix="cnnx-soak-")).resolve(), Watch(), 0
    cnnx.set_num_threads(1)
    for kind in chosen.kinds:
        began = time.perf_counter()
        outcomes, slowest, wrong = soak(kind, chosen.count, chosen.seed, folder, watch)
        for number, what in wrong[:20]:
            print(f"{kind} {number}: {what}")
        print(
            f"{kind}: {chosen.count} changed files, {outcomes['read']} read, {outcomes['refused']} refused, "
            f"{len(wrong)} otherwise; the slowest took {slowest * 1000:.0f} ms; {time.perf_counter() - began:.0f} s"
        )
        failed += len(wrong)
    if failed:
        print(f"kept in {folder}")
    else:
        for path in folder.glob("*"):
            os.remove(path)
    return int(bool(failed))
