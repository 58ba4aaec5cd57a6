"""`cnnx report`, as a user calls it."""

import sys
from pathlib import Path

import numpy as np
import pytest
from pages import Page, assert_fetches_nothing

import cnnx
from cnnx.command.main import main

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def photos(tmp_path):
    """Pictures of three classes, and a model and a log of them, in the working directory."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(("cat", "dog & <co>", "emu")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(10):
            pixels = np.full((8, 8, 3), 80 * label, np.uint8) + rng.integers(0, 60, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{index}.png")
    model = cnnx.Model(
        cnnx.ConvolutionLayer(filters=2, filter_size=3), cnnx.GlobalPoolLayer(), cnnx.DenseLayer(units=3),
        cnnx.SoftmaxLayer())  # fmt: skip
    model.build((8, 8, 3), seed=0)
    model.class_names, model.pixel_max = ("cat", "dog & <co>", "emu"), 255
    model.save("model.safetensors")
    (tmp_path / "log.csv").write_text("epoch,loss,accuracy,seconds,learning_rate\n1,1.5,0.25,2,0.1\n2,1.25,0.5,2,0.1\n")


def test_a_folder_of_pictures_becomes_a_page(photos, capsys):
    assert main(["report", "model.safetensors", "photos", "--log", "log.csv", "--test-share", "0.5"]) == 0
    assert capsys.readouterr().out == "the report on 15 test images is saved to report.html\n"
    page = Page(Path("report.html"))
    assert_fetches_nothing(page)
    assert len(page.bytes) < 2_000_000
    for word in (
        "Report on photos",
        "dog & <co>",
        "2 epochs in 4.0 s",
        "drawn with seed 0, of each class: 50% to test on",
    ):
        assert word in page.text
    assert "cnnx report model.safetensors photos --log log.csv --test-share 0.5" in page.text
    names = {entry["n"] for entry in page.data["gallery"]["shown"]}
    assert names <= {f"{name}/{index}.png" for name in ("cat", "dog & <co>", "emu") for index in range(10)}
    assert names


def test_what_is_wrong_is_one_line(photos, capsys, monkeypatch):
    for arguments, message in [
        (["missing.safetensors", "photos"], "missing.safetensors"),
        (["model.safetensors", "missing"], "missing: expected the word digits, a folder of pictures"),
        (
            ["model.safetensors", "photos", "--log", "model.safetensors"],
            "model.safetensors: epoch 1: expected",
        ),
        (["model.safetensors", "photos", "--output", "no/folder.html"], "no/folder.html"),
    ]:
        assert main(["report", *arguments]) == 2
        error = capsys.readouterr().err
        assert error.startswith("cnnx: error: ")
        assert message in error
        assert error.count("\n") == 1
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main(["report", "model.safetensors", "photos"]) == 2
    assert "pip install 'cnnx[report]'" in capsys.readouterr().err


def test_training_ends_with_a_report(photos, capsys):
    arguments = [
        "train",
        "photos",
        "--epochs",
        "1",
        "--report",
        "--seed",
        "3",
        "--output",
        "new.safetensors",
        "--quiet",
    ]
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "the report on 6 test images is saved to report.html"
    page = Page(Path("report.html"))
    assert_fetches_nothing(page)
    for word in ("Report on photos", "new.safetensors", "1 epoch in", "cnnx train photos --epochs 1 --report --seed 3"):
        assert word in page.text
    assert main(["evaluate", "new.safetensors", "photos", "--seed", "3"]) == 0
    accuracy = capsys.readouterr().out.partition("test accuracy ")[2].partition("%")[0]
    assert f"{float(accuracy):.1f} % of 6 test pictures right" in page.text


def test_a_report_that_cannot_be_is_said_before_training(photos, capsys, monkeypatch):
    assert main(["train", "photos", "--report", "no/folder.html"]) == 2
    assert "--report: no/folder.html cannot be written" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main(["train", "photos", "--report"]) == 2
    assert "pip install 'cnnx[report]'" in capsys.readouterr().err
    assert not list(Path().glob("*photos*.safetensors"))
