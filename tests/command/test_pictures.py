"""From a folder of pictures to a model, and what it says of pictures."""

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from photographs import SHAPE, draw, write_photographs

import cnnx
from cnnx.command.main import main

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def photos(tmp_path, rng):
    """A folder ``photos`` of three classes with 20 pictures each; the commands run beside it."""
    return write_photographs(tmp_path / "photos", rng)


def train(*arguments):
    return main(["train", "photos", "--quiet", "--epochs", "3", "--model", "small", "--output", "m", *arguments])


def test_one_command_makes_a_tested_model_of_a_folder_of_pictures(photos, capsys):
    assert main(["train", "photos", "--epochs", "4"]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[:3] == [
        "photos: 42 images to train on, 6 to validate on, 12 to test on, each 16 x 12 x 3",
        "3 classes: bird (20), cat (20), dog (20)",
        "drawn with seed 0, of each class: 20% to test on, then 10% to validate on",
    ]
    assert any(line == "wideresnet8, AdamW OneCycle 0.004, 8 images a step, 4 epochs at most" for line in lines)
    assert "epoch 4/4: loss" in shown.err
    assert "validation_accuracy" in shown.err
    head = lines.index("class  images  precision  recall      F1")
    assert [line.split()[:2] for line in lines[head + 1 : head + 4]] == [["bird", "4"], ["cat", "4"], ["dog", "4"]]
    assert re.fullmatch(
        r"test loss \d\.\d{4}, test accuracy 100\.00% \(95% interval 75\.75% to 100\.00%, Wilson\)", lines[-2]
    )
    assert lines[-1] == "saved to photos-wideresnet8.safetensors"
    model = cnnx.Model.load("photos-wideresnet8.safetensors")
    assert (model.class_names, model.pixel_max, model.input_shape) == (("bird", "cat", "dog"), 255, SHAPE)
    assert isinstance(model.layers[0], cnnx.StandardizeLayer)
    # The same part is set aside again.
    assert main(["evaluate", "photos-wideresnet8.safetensors", "photos"]) == 0
    again = capsys.readouterr().out.splitlines()
    assert again[0] == "12 images to test on, drawn with seed 0, of each class: 20% to test on"
    assert again[1:] == lines[head - 1 : -1]


def test_the_seed_says_what_is_set_aside_and_all_else(photos, capsys):
    weights = []
    for seed in ("0", "0", "1"):
        assert train("--seed", seed) == 0
        weights.append(cnnx.Model.load("m").parameters)
    np.testing.assert_array_equal(weights[0], weights[1])
    assert (weights[0] != weights[2]).any()
    assert "drawn with seed 1, of each class: 20% to test on" in capsys.readouterr().out


@pytest.mark.parametrize(("names", "validation"), [(("train", "test"), "4"), (("Training", "valid", "Testing"), "6")])
def test_parts_that_are_there_are_not_drawn(photos, rng, capsys, names, validation):
    for name in names:
        write_photographs(photos.parent / "parts" / name, rng, count=10 if name[:1] in "tT" and "st" not in name else 2)
    (photos.parent / "parts" / "README.txt").write_text("Left out.")
    assert main(["train", "parts", "--quiet", "--epochs", "1", "--model", "small"]) == 0
    lines = capsys.readouterr().out.splitlines()
    train_count = 30 if "valid" in names else 27
    aside = 6 if "valid" in names else 3
    assert (
        lines[0] == f"parts: {train_count} images to train on, {aside} to validate on, 6 to test on, each 16 x 12 x 3"
    )
    assert any(line.startswith("drawn") for line in lines) == ("valid" not in names)


def test_a_class_may_be_called_train(photos, rng, capsys):
    write_photographs(
        photos.parent / "vehicles", rng, ("train", "test", "bus"), names={"train": "cat", "test": "dog", "bus": "bird"}
    )
    assert main(["train", "vehicles", "--quiet", "--epochs", "1", "--model", "small"]) == 0
    assert "3 classes: bus (20), test (20), train (20)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("size", "expected"), [(None, (16, 12, 3)), ("8", (8, 8, 3)), ("8x10", (8, 10, 3)), ("40x20", (40, 20, 3))]
)
def test_pictures_have_the_size_that_is_asked_for_or_their_own(photos, size, expected):
    assert train(*(["--size", size] if size else [])) == 0
    assert cnnx.Model.load("m").input_shape == expected


def test_large_pictures_are_brought_to_64_pixels_and_grey_ones_have_one_channel(photos, rng):
    for name in ("a", "b"):
        (photos.parent / "large" / name).mkdir(parents=True)
        for i, (height, width) in enumerate([(300, 200), (200, 100), (300, 200)] * 3):
            pixels = rng.integers(0, 256, (height, width), dtype=np.uint8)
            Image.fromarray(pixels).save(photos.parent / "large" / name / f"{i}.jpg")
    assert main(["train", "large", "--quiet", "--epochs", "1", "--model", "small", "--output", "m"]) == 0
    assert cnnx.Model.load("m").input_shape == (64, 43, 1)


def test_damaged_pictures_are_all_named_and_counted_before_anything_is_trained(photos, capsys):
    (photos / "cat" / "03.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (photos / "dog" / "notes.txt").write_text("no picture")
    (photos / "dog" / "05.png").write_bytes(b"")
    for left in ("Thumbs.db", "desktop.ini", ".DS_Store", ".hidden.png"):
        (photos / "cat" / left).write_bytes(b"left behind")
    assert train() == 2
    shown = capsys.readouterr()
    *damaged, last = shown.err.splitlines()
    assert sorted(line.split(":")[0].replace(os.sep, "/") for line in damaged) == [
        "photos/cat/03.png", "photos/dog/05.png", "photos/dog/notes.txt"
    ]  # fmt: skip
    assert last == "cnnx: error: 3 of 61 files cannot be read as pictures; --skip-damaged leaves them out"
    assert not shown.out
    assert not os.path.exists("m")
    assert train("--skip-damaged") == 0
    shown = capsys.readouterr()
    assert len(shown.err.splitlines()) == 4
    assert "3 of 61 files cannot be read as pictures and are left out" in shown.err
    assert "3 classes: bird (20), cat (19), dog (19)" in shown.out


@pytest.mark.skipif(os.name != "posix", reason="names of bytes are a matter of POSIX")
@pytest.mark.filterwarnings("ignore::UnicodeWarning")
def test_classes_may_be_called_anything_that_a_folder_may(photos, rng, capsys):
    odd = ["\x1b[31mred\x1b[0m", "two\nlines", "<b>&'\"", "鳥" * 60, os.fsdecode(b"caf\xe9"), "a" * 250, " "]
    for name in odd:
        write_photographs(photos.parent / "odd", rng, [name], count=6, names={name: "cat"})
    assert main(["train", "odd", "--quiet", "--epochs", "1", "--model", "small", "--output", "m"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r"\x1b[31mred\x1b[0m (6), " in out
    assert r"two\nlines (6)" in out
    model = cnnx.Model.load("m")
    assert set(model.class_names) == {*odd[:4], r"caf\xe9", *odd[5:]}
    assert main(["predict", "m", os.path.join("odd", odd[1])]) == 0
    assert all(re.match(r"odd/two\\nlines/0\d\.png: ", line) for line in capsys.readouterr().out.splitlines())
    assert main(["evaluate", "m", "odd"]) == 0


def test_a_run_that_is_resumed_and_logged_has_the_same_weights(photos, monkeypatch):
    options = ["--augment", "flip,shift,brightness,mixup", "--epochs", "4"]
    assert train(*options, "--log", "whole.csv") == 0
    expected = cnnx.Model.load("m").parameters
    end = cnnx.callbacks.Checkpoint.on_epoch_end

    def cut_off(self, epoch, figures):
        end(self, epoch, figures)
        if epoch == 2:
            raise RuntimeError("the power is gone")

    with monkeypatch.context() as patch:
        patch.setattr(cnnx.callbacks.Checkpoint, "on_epoch_end", cut_off)
        assert train(*options, "--checkpoint", "run", "--log", "parts.csv") == 2
    assert train(*options, "--resume", "run", "--log", "parts.csv") == 0
    np.testing.assert_array_equal(cnnx.Model.load("m").parameters, expected)
    whole, parts = (
        [line.split(",")[:5] for line in Path(name).read_text().splitlines()] for name in ("whole.csv", "parts.csv")
    )
    assert whole == parts
    assert whole[0] == ["epoch", "loss", "accuracy", "validation_loss", "validation_accuracy"]
    assert len(whole) == 5


def test_pictures_that_do_not_fit_into_memory_train_the_same_model(photos, monkeypatch):
    weights = []
    for most in (1 << 30, 1000):
        monkeypatch.setattr("cnnx.datasets.pictures.MOST_IN_MEMORY", most)
        assert train() == 0
        weights.append(cnnx.Model.load("m").parameters)
    np.testing.assert_array_equal(*weights)


def test_evaluate_gives_pictures_to_the_classes_of_the_model(photos, rng, capsys):
    assert train() == 0
    write_photographs(photos.parent / "others", rng, ["cat", "dog"], count=5)
    capsys.readouterr()
    assert main(["evaluate", "m", "others", "--test-share", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines if line[:4] in ("bird", "cat ", "dog ")] == [
        ["bird", "0"], ["cat", "5"], ["dog", "5"]
    ]  # fmt: skip
    assert " 100.00% " in lines[-1]
    write_photographs(photos.parent / "others", rng, ["wolf"], count=1, names={"wolf": "dog"})
    assert main(["evaluate", "m", "others"]) == 2
    assert "expected folders of the classes bird, cat, dog, found wolf" in capsys.readouterr().err


def test_a_model_that_knows_pixels_from_0_to_1_is_given_such_pixels(photos, capsys):
    batches = cnnx.data.FolderBatches(photos, 8, SHAPE[:2])
    model = cnnx.models.standardized(cnnx.models.small(3))
    model.train(batches, learning_rate=0.1, epochs=3, seed=0, verbose=False)
    model.save("m")
    loss, accuracy = model.evaluate(batches)
    assert main(["evaluate", "m", "photos", "--test-share", "1"]) == 0
    assert f"test loss {loss:.4f}, test accuracy {accuracy:.2%}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["train", "photos/cat"],
            "photos/cat: expected a folder of pictures for each class, two or more, found no fold",
        ),
        (["train", "one"], "one: expected a folder of pictures for each class, two or more, found only cat"),
        (["train", "empty"], "empty: expected pictures (PNG, JPEG"),
        (["train", "photos", "--size", "0"], "--size: expected a number of pixels or HEIGHTxWIDTH, got 0"),
        (["train", "photos", "--size", "8x"], "--size: expected a number of pixels or HEIGHTxWIDTH, got 8x"),
        (["train", "photos", "--test-share", "1"], "--test-share: expected a number between 0 and 1, got 1"),
        (["train", "photos", "--test-share", "nan"], "--test-share: expected a number between 0 and 1, got nan"),
        (
            ["train", "photos", "--log", "log.txt"],
            "--log: expected a name that ends in .csv, .jsonl, .json, got log.txt",
        ),
        (["train", "photos", "--log", "no/such/log.csv"], "--log: no/such/log.csv cannot be written"),
    ],
)
def test_an_error_is_one_line_and_status_2(photos, rng, arguments, message, capsys):
    write_photographs(photos.parent / "one", rng, ["cat"], count=1)
    for name in ("a", "b"):
        (photos.parent / "empty" / name).mkdir(parents=True)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        f"cnnx: error: {message}".replace("/", os.sep) if "photos/" in message else f"cnnx: error: {message}"
    )
    assert len(error.splitlines()) == 1


def test_without_pillow_the_extra_is_named(photos, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert train() == 2
    assert "python -m pip install 'cnnx[image]'" in capsys.readouterr().err


def test_pictures_are_told_from_each_other(rng):
    assert draw(rng, "cat").mean(axis=(0, 1)).argmax() == 0


def test_few_pictures_are_trained_without_validation_and_one_of_each_class_is_too_few(photos, rng, capsys):
    write_photographs(photos.parent / "few", rng, count=2)
    assert main(["train", "few", "--quiet", "--epochs", "1", "--model", "small", "--output", "m"]) == 0
    assert "few: 3 images to train on, 0 to validate on, 3 to test on" in capsys.readouterr().out
    write_photographs(photos.parent / "fewer", rng, count=1)
    assert main(["train", "fewer", "--quiet"]) == 2
    assert "fewer: expected an example to test on, of the test part, got none" in capsys.readouterr().err


def test_a_size_is_for_pictures(photos, capsys):
    assert main(["train", "digits", "--size", "16"]) == 2
    assert "--size: expected a folder of pictures to resize, got digits" in capsys.readouterr().err


def test_a_model_that_takes_no_pictures_says_so_once(photos, capsys):
    model = cnnx.Model(cnnx.DenseLayer(3), cnnx.SoftmaxLayer())
    model.build((7,), seed=0)
    model.save("table")
    assert main(["evaluate", "table", "photos"]) == 2
    expected = "cnnx: error: expected a model for images with 1 or 3 channels, got one for examples of shape (7,)\n"
    assert capsys.readouterr().err == expected


def test_what_is_said_of_reading_may_go_nowhere(photos, monkeypatch):
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, None)
    assert main(["train", "photos", "--epochs", "1", "--model", "small", "--output", "m"]) == 0
    cnnx.Model.load("m")
