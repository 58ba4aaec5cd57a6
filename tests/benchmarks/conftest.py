"""The benchmarks are no part of the package: tests that have been copied away from the sources go without them."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

if (ROOT / "benchmarks" / "__init__.py").is_file():
    sys.path.append(str(ROOT))  # at the end: an installed cnnx comes before the sources
else:
    collect_ignore_glob = ["test_*.py"]
