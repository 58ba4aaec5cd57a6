"""The examples of the documentation run."""

import doctest
import re
import shlex
import textwrap
from pathlib import Path

import numpy as np
import pytest
from photographs import write_photographs

import cnnx
from cnnx.command.main import main

DOCS = Path(__file__).parent.parent / "docs"
# The pages with examples, and the extras that these need.
PAGES: dict[str, tuple[str, ...]] = {
    "deck.md": (),
    "get-started.md": (),
    "onnx.md": ("onnx", "onnxruntime"),
    "report.md": ("matplotlib", "jinja2", "PIL"),
    "reproducibility.md": (),
    "scikit-learn.md": ("sklearn.base", "distributed"),
    "serving.md": (),
    "training.md": (),
}
# Those that show what holds for the compiled kernels alone.
SAME_BITS = {"serving.md"}


@pytest.mark.skipif(not DOCS.is_dir(), reason="the documentation is not beside the tests")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed.*")
@pytest.mark.parametrize("page", PAGES)
def test_every_python_block_of_a_page_runs_after_those_before_it(page, tmp_path, monkeypatch):
    for extra in PAGES[page]:
        pytest.importorskip(extra)
    if page in SAME_BITS and cnnx.backend_in_use() != "compiled":
        pytest.skip("the sums of NumPy's BLAS depend on the batch")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.fsync", lambda file: None)
    text = (DOCS / page).read_text(encoding="utf-8")
    names: dict = {}
    blocks = list(re.finditer(r"^( *)```python\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL))
    assert len(blocks) >= 2
    for block in blocks:
        # The lines of errors are those of the page.
        code = "\n" * text.count("\n", 0, block.start(2)) + textwrap.dedent(block[2])
        exec(compile(code, page, "exec"), names)


@pytest.mark.skipif(not DOCS.is_dir(), reason="the documentation is not beside the tests")
def test_the_plan_on_the_page_of_the_architecture_is_the_one_that_is_printed():
    result = doctest.testfile(str(DOCS / "architecture.md"), module_relative=False)
    assert result.attempted == 4
    assert result.failed == 0


@pytest.mark.skipif(not DOCS.is_dir(), reason="the documentation is not beside the tests")
def test_every_command_of_the_page_on_pictures_runs(tmp_path, monkeypatch, capsys):
    for name in PAGES["report.md"]:
        pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cnnx.command.recipe.EPOCHS", (1, 2))
    classes, rng = ["cat", "dog", "rabbit"], np.random.default_rng(0)
    write_photographs(tmp_path / "photos", rng, classes, count=10, names={"rabbit": "bird"})
    text = (DOCS / "pictures.md").read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S) for line in block.splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("cnnx ")]
    assert len(commands) >= 11
    for command in commands:
        assert main(command) == 0, command
    assert capsys.readouterr().out.count("saved to report.html") == 1
