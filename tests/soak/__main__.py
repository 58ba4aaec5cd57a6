import importlib
import sys
from pathlib import Path

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        sys.exit(f"python -m tests.soak NAME ..., with one of {', '.join(NAMES)}")
    sys.exit(importlib.import_module(f".{sys.argv[1]}", __package__).main(sys.argv[2:]))
