"""What the page on many machines shows."""

import re
from pathlib import Path

import pytest
import ranks

PAGE = Path(__file__).parent.parent.parent / "docs" / "many-machines.md"
pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not beside the tests")


def blocks():
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_its_program_writes_the_same_file_with_and_without_ranks(tmp_path):
    (tmp_path / "program.py").write_text(blocks()[0], encoding="utf-8")
    written = []
    for count in (1, 2):
        status, output, errors = ranks.finish(ranks.start(count, tmp_path / "program.py", folder=tmp_path))
        assert status == 0, errors
        assert re.fullmatch(r"accuracy \d\d\.\d\d%\n", output)
        written.append((tmp_path / "digits.safetensors").read_bytes())
    assert written[0] == written[1]


def test_every_error_of_its_table_is_one_that_is_raised():
    """The words before the first number or dots of each message of ours stand in the sources."""
    import cnnx

    sources = "".join(path.read_text(encoding="utf-8") for path in sorted(Path(cnnx.__file__).parent.rglob("*.py")))
    sources = re.sub(r'"\s*\n\s*f?"', "", sources)  # strings that are written in several lines
    rows = re.findall(r"^\| `([^`]+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    ours = [row for row in rows if row[0].islower()]
    assert len(ours) >= 10
    for message in ours:
        words = max(re.split(r"[\d…]+|rank \d|'\w+'|\(.*?\)|, as on.*", message), key=len).strip(" :,[]")
        assert words in sources, message
