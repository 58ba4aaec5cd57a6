"""Files that a coverage-guided fuzzer makes: `python -m tests.soak guided models --seconds 600`; it needs atheris.

The fuzzer changes bytes, and keeps what reaches new lines of cnnx; checksums are made right before a file is read.
"""

import argparse
import json
import sys
import tempfile
import warnings
from pathlib import Path


def signed_again(content, signed):
    """The same file with a checksum that is right, if it has a header at all."""
    count = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + count])
        return signed(header, content[8 + count :]) if isinstance(header, dict) else content
    except (ValueError, RecursionError):
        return content


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.soak guided")
    parser.add_argument("kind", choices=("models", "checkpoints", "npz", "idx"))
    parser.add_argument("--seconds", type=int, default=600)
    chosen = parser.parse_args(arguments)
    import atheris

    with atheris.instrument_imports(include=["cnnx"]):
        import cnnx.datasets
        import cnnx.files.models
        import cnnx.training.checkpoints
    from . import files

    warnings.simplefilter("ignore")
    cnnx.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="cnnx-guided-"))
    good, _, make_reader = files.KINDS[chosen.kind]
    (folder / "corpus").mkdir()
    for number, content in enumerate(good(folder)):
        (folder / "corpus" / str(number)).write_bytes(content)
    reader, path, counts = make_reader(), folder / "file", {"read": 0, "refused": 0}

    def read(content):
        path.write_bytes(signed_again(content, files.signed) if chosen.kind in ("models", "checkpoints") else content)
        try:
            reader(path)
            counts["read"] += 1
        except ValueError:
            counts["refused"] += 1
        if sum(counts.values()) % 1000 == 0:
            print(f"{chosen.kind}: {counts['read']} read, {counts['refused']} refused, none otherwise", flush=True)

    options = [f"-max_total_time={chosen.seconds}", "-max_len=20000", "-timeout=2", f"-artifact_prefix={folder}/"]
    atheris.Setup([sys.argv[0], *options, str(folder / "corpus")], read)
    atheris.Fuzz()
