"""What `cnnx predict` says of pictures and folders of them."""

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from photographs import SHAPE, draw, write_photographs

import cnnx
from cnnx.command.main import main

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def model(rng):
    """A model that tells three classes, saved as ``m``, beside the folder ``new`` with pictures in two levels."""
    names = ("bird", "cat", "dog")
    y = np.arange(60) % 3
    X = np.array([draw(rng, names[label]) for label in y])
    model = cnnx.Model(cnnx.StandardizeLayer(), cnnx.Flatten(), cnnx.DenseLayer(units=3), cnnx.SoftmaxLayer())
    model.class_names = names
    model.train(X, y, 0.01, epochs=2, seed=0, verbose=False)
    model.save("m")
    for path, name in (("new/b.png", "cat"), ("new/a.png", "dog"), ("new/in/c.png", "bird")):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Image.fromarray(draw(rng, name)).save(path)
    for path in ("new/Thumbs.db", "new/.hidden.png"):
        with open(path, "w") as file:
            file.write("left behind")
    return model


FOUND = [("new/a.png", "dog"), ("new/b.png", "cat"), (os.path.join("new", "in", "c.png"), "bird")]


def expected(model):
    for path, name in FOUND:
        pixels = np.asarray(Image.open(path))[None]
        yield os.path.normpath(path), name, model.predict_proba(pixels)[0]


def test_a_folder_is_gone_through_and_classes_have_their_names(model, capsys):
    assert main(["predict", "m", "new"]) == 0
    shown = capsys.readouterr()
    lines = [f"{path}: {name} {max(shares):.2f}" for path, name, shares in expected(model)]
    assert shown.out.splitlines() == lines
    assert not shown.err


def test_json_has_an_object_for_each_picture(model, capsys):
    assert main(["predict", "m", "new", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for row, (path, name, shares) in zip(rows, expected(model), strict=True):
        assert list(row) == ["path", "class", "probability", "probabilities"]
        assert (row["path"], row["class"]) == (path, name)
        assert list(row["probabilities"]) == ["bird", "cat", "dog"]
        np.testing.assert_allclose(list(row["probabilities"].values()), shares, atol=1e-6)
        assert row["probability"] == max(row["probabilities"].values())


def test_csv_has_a_column_for_each_class(model, capsys):
    assert main(["predict", "m", "new", "--csv"]) == 0
    head, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert head == ["path", "class", "bird", "cat", "dog"]
    for row, (path, name, shares) in zip(rows, expected(model), strict=True):
        assert row[:2] == [path, name]
        np.testing.assert_allclose([float(share) for share in row[2:]], shares, atol=1e-6)


@pytest.mark.skipif(cnnx.backend_in_use() != "compiled", reason="the sums of NumPy's BLAS depend on the batch")
@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]])
def test_many_pictures_are_classified_as_each_by_itself(model, rng, capsys, form):
    folder = write_photographs(Path("many"), rng, count=30)
    assert main(["predict", "m", "many", *form]) == 0
    together = capsys.readouterr().out.splitlines()
    paths = sorted(str(path) for path in folder.rglob("*.png"))
    for path in paths:
        assert main(["predict", "m", path, *form]) == 0
    alone = capsys.readouterr().out.splitlines()
    assert together[-90:] == [line for line in alone if not line.startswith("path,")]


def test_what_cannot_be_read_is_said_and_counted(model, capsys):
    with open("new/in/bad.png", "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\nbroken")
    with open("new/notes.txt", "w") as file:
        file.write("no picture")
    os.makedirs("empty")
    for form in ([], ["--json"], ["--csv"]):
        assert main(["predict", "m", "new", "missing.png", "empty", *form]) == 1
        shown = capsys.readouterr()
        assert len(shown.out.splitlines()) == 3 + (form == ["--csv"])
        notes, empty, bad, missing, count = shown.err.splitlines()
        assert notes == "new: 1 of 5 files are no pictures by their endings"
        assert empty.startswith("cnnx: error: empty: expected pictures (PNG, JPEG, WebP")
        assert bad.startswith(f"cnnx: error: {os.path.join('new', 'in', 'bad.png')}: not an intact image: ")
        assert "missing.png" in missing
        assert count == "cnnx: 3 of 6 could not be read"


@pytest.mark.skipif(os.name != "posix", reason="names of bytes are a matter of POSIX")
def test_names_of_files_cannot_steer_a_terminal_or_break_a_line(model, rng, capsys):
    odd = ["\x1b]0;title\x07.png", "two\nlines.png", os.fsdecode(b"caf\xe9.png"), 'quo"te,.png']
    os.makedirs("odd")
    for name in odd:
        Image.fromarray(draw(rng, "cat")).save(os.path.join("odd", name))
    for form in ([], ["--json"], ["--csv"]):
        assert main(["predict", "m", "odd", *form]) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out
        assert "\x07" not in out
        if form == ["--json"]:
            assert {os.path.basename(json.loads(line)["path"]) for line in out.splitlines()} == set(odd)
        elif not form:
            assert len(out.splitlines()) == 4
            assert all(line.split(": ")[-1].startswith("cat ") for line in out.splitlines())
        else:
            assert {row[1] for row in csv.reader(io.StringIO(out))} == {"class", "cat"}


@pytest.mark.parametrize("named", [True, False])
def test_a_model_of_several_classes_at_once_names_all_of_them(model, named, capsys):
    several = cnnx.Model(cnnx.Flatten(), cnnx.DenseLayer(3), cnnx.SigmoidLayer())
    several.build(SHAPE, seed=0)
    several.layers[1].params["W"][...] = 0
    several.layers[1].params["b"][...] = [0.5, -1, 2]
    several.class_names = ("bird", "cat", "dog") if named else None
    several.save("several")
    assert main(["predict", "several", "new/a.png"]) == 0
    text = "bird 0.62, dog 0.88" if named else "classes 0 (0.6225), 2 (0.8808)"
    assert capsys.readouterr().out == f"new/a.png: {text}\n"
    assert main(["predict", "several", "new/a.png", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["classes"] == (["bird", "dog"] if named else [0, 2])
    assert main(["predict", "several", "new/a.png", "--csv"]) == 0
    assert (
        capsys.readouterr().out.splitlines()[1].startswith("new/a.png,bird;dog,0.62" if named else "new/a.png,0;2,0.6")
    )
