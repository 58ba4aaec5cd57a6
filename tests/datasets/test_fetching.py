"""Fetching, from a server on this machine that has small files of the same kinds."""

import gzip
import hashlib
import io
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from idx import idx

from cnnx import datasets
from cnnx.datasets import fetching

pytest.importorskip("pooch")


class Handler(BaseHTTPRequestHandler):
    """Gives the server's files, from where a request says on; `cuts` says after how many bytes to break off."""

    def do_GET(self):
        server = self.server
        server.asked.append((self.path, self.headers.get("Range")))
        content = server.files.get(self.path.lstrip("/"))
        if content is None:
            self.send_error(404)
            return
        start = 0
        if (asked := self.headers.get("Range")) and server.continues:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: server.cuts.pop(0) if server.cuts else None])

    def log_message(self, *words):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.cuts, server.asked, server.continues = {}, [], [], True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def serve(server, monkeypatch):
    """Have the server hold the files of a data set."""

    def hold(name, files):
        server.files = dict(files)
        checksums = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
        source = fetching.SOURCES[name]
        base = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setitem(fetching.SOURCES, name, source._replace(base=base, files=checksums))

    return hold


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (6, 4, 3), dtype=np.uint8)


def mnist(images):
    labels = np.arange(6, dtype=np.uint8)
    arrays = {"train-images-idx3": images, "train-labels-idx1": labels}
    arrays |= {"t10k-images-idx3": images[:2], "t10k-labels-idx1": labels[:2]}
    return {f"{name}-ubyte.gz": gzip.compress(idx(array)) for name, array in arrays.items()}


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "kmnist"])
def test_a_data_set_is_fetched_once(tmp_path, server, serve, images, name):
    serve(name, mnist(images))
    for _ in range(2):
        (X, y), (X_test, _) = datasets.fetch(name, tmp_path / "new", verbose=False)
        np.testing.assert_array_equal(X[..., 0], np.float32(images) / np.float32(255))
        assert y.tolist() == list(range(6))
        assert X_test.shape == (2, 4, 3, 1)
    assert len(server.asked) == 4


def test_cifar_is_read_from_its_archive(tmp_path, serve, rng):
    pixels = rng.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(12, dtype=np.uint8) % 10
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for place, name in enumerate([*fetching.CIFAR_TRAINING, "test_batch.bin"]):
            rows = slice(2 * place, 2 * place + 2)
            content = np.hstack([labels[rows, None], pixels[rows].reshape(2, -1)]).tobytes()
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    serve("cifar-10", {"cifar-10-binary.tar.gz": packed.getvalue()})
    (X, y), (X_test, y_test) = datasets.fetch("cifar-10", tmp_path, verbose=False)
    assert (X.shape, y.tolist()) == ((10, 32, 32, 3), [*range(10)])
    assert (X_test.shape, y_test.tolist()) == ((2, 32, 32, 3), [0, 1])
    assert X[3, 5, 7, 2] == np.float32(pixels[3, 2, 5, 7]) / np.float32(255)


def test_letters_stand_upright_and_count_from_zero(tmp_path, serve, images):
    labels = np.array([1, 26, 3, 4, 5, 6], np.uint8)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for part in ("train", "test"):
            for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
                archive.writestr(f"gzip/emnist-letters-{part}-{kind}-ubyte.gz", gzip.compress(idx(array)))
    serve("emnist-letters", {"gzip.zip": packed.getvalue()})
    (X, y), _ = datasets.fetch("emnist-letters", tmp_path, verbose=False)
    np.testing.assert_array_equal(X[0, :, :, 0], np.float32(images[0].T) / np.float32(255))
    assert y.tolist() == [0, 25, 2, 3, 4, 5]
    assert datasets.CLASS_NAMES["emnist-letters"][25] == "z"


@pytest.mark.parametrize("continues", [True, False])
def test_a_broken_download_goes_on_where_it_stopped(tmp_path, monkeypatch, server, serve, images, continues):
    files = mnist(images)
    serve("mnist", files)
    server.continues, server.cuts = continues, [30]
    monkeypatch.setattr(fetching, "CHUNK", 10)
    with pytest.raises(OSError, match=r"train-images-idx3-ubyte.gz: could not be fetched: .*can be put into"):
        datasets.fetch("mnist", tmp_path, verbose=False)
    assert (tmp_path / "train-images-idx3-ubyte.gz.part").stat().st_size == 30
    (X, _), _ = datasets.fetch("mnist", tmp_path, verbose=False)
    assert len(X) == 6
    assert server.asked[1] == ("/train-images-idx3-ubyte.gz", "bytes=30-")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)


def test_a_part_that_is_the_whole_is_taken(tmp_path, serve, images):
    files = mnist(images)
    serve("mnist", files)
    (tmp_path / "train-images-idx3-ubyte.gz.part").write_bytes(files["train-images-idx3-ubyte.gz"])
    (X, _), _ = datasets.fetch("mnist", tmp_path, verbose=False)
    assert len(X) == 6


def test_what_is_not_the_file_is_refused_and_not_kept(tmp_path, server, serve, images):
    files = mnist(images)
    serve("mnist", files)
    server.files["train-images-idx3-ubyte.gz"] = b"<html>Sign in to this network</html>"
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz: expected the SHA-256"):
        datasets.fetch("mnist", tmp_path, verbose=False)
    assert list(tmp_path.iterdir()) == []
    server.files = files
    datasets.fetch("mnist", tmp_path, verbose=False)


def test_a_file_that_has_rotted_is_fetched_again(tmp_path, serve, images):
    serve("mnist", mnist(images))
    datasets.fetch("mnist", tmp_path, verbose=False)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(b"rot")
    datasets.fetch("mnist", tmp_path, verbose=False)


def test_without_a_network_the_error_says_what_to_do(tmp_path, monkeypatch):
    source = fetching.SOURCES["kmnist"]._replace(base="http://127.0.0.1:9/")
    monkeypatch.setitem(fetching.SOURCES, "kmnist", source)
    with pytest.raises(OSError, match=r"http://127.0.0.1:9/train-images.*could not be fetched.*can be put into"):
        datasets.fetch("kmnist", tmp_path, verbose=False)


def test_a_file_that_is_not_there_is_an_error(tmp_path, server, serve, images):
    serve("mnist", mnist(images))
    server.files = {}
    with pytest.raises(OSError, match="404"):
        datasets.fetch("mnist", tmp_path, verbose=False)


def test_names_that_nobody_knows_are_refused():
    with pytest.raises(ValueError, match=r"fetch: expected one of mnist, fashion-mnist, .*got 'imagenet'"):
        datasets.fetch("imagenet")


def test_each_data_set_has_a_name_for_each_class():
    assert {name: len(names) for name, names in datasets.CLASS_NAMES.items()} == {
        "mnist": 10,
        "fashion-mnist": 10,
        "cifar-10": 10,
        "kmnist": 10,
        "emnist-letters": 26,
    }
