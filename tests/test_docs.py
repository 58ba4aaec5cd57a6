"""The examples of the documentation run."""

import doctest
import re
import textwrap
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
# The pages with examples, and the extras that these need.
PAGES: dict[str, tuple[str, ...]] = {
    "deck.md": (),
    "get-started.md": (),
    "onnx.md": ("onnx", "onnxruntime"),
    "reproducibility.md": (),
    "serving.md": (),
    "training.md": (),
}


@pytest.mark.skipif(not DOCS.is_dir(), reason="the documentation is not beside the tests")
@pytest.mark.parametrize("page", PAGES)
def test_every_python_block_of_a_page_runs_after_those_before_it(page, tmp_path, monkeypatch):
    for extra in PAGES[page]:
        pytest.importorskip(extra)
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
