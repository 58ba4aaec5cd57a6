import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path


def test_files_that_are_changed_at_random_are_read_or_refused_with_the_documented_error():
    # In a process of its own, whose audit hook ends with it.
    command = [sys.executable, "-m", "tests.soak", "files", "--count", "150"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    kinds = 6 + (find_spec("onnx") is not None)
    assert done.stdout.count(", 0 otherwise;") == kinds, done.stdout + done.stderr
