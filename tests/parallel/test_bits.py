"""One checksum for any number of ranks, and for no MPI at all; and each rank reads its part alone."""

import json
import sys

import pytest
import ranks

sys.path.insert(0, str(ranks.PROGRAMS))
import bits  # noqa: E402
from cnnx.parallel import Shards  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("ranks")
    bits.make_files(path)
    return path


@pytest.fixture(scope="module")
def alone(folder):
    """What one process comes to that no launcher has started."""
    shards = Shards(bits.SHARDS)
    assert (shards.rank, shards.size) == (0, 1)
    return json.loads(json.dumps(bits.results(folder, shards)))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_any_number_of_ranks_gives_the_same_bits_as_one_process_without_mpi(count, folder, alone):
    for rank, found in enumerate(ranks.run(count, "bits.py", folder, folder=folder)):
        for name, expected in alone.items():
            assert found["bits"][name] == expected, f"rank {rank} of {count}: {name}"
        check_reads(found["reads"], count)


def check_reads(reads, count):
    """A sample that all compare, then no more than the blocks of this rank: each example once in all."""
    for examples, _, rows in reads.values():
        assert len(set(rows)) == len(rows)
        # Blocks differ by one example, and the last batch may leave some of them empty.
        assert abs(len(rows) - examples / count) <= examples / count * 0.25 + 4


def test_ranks_read_every_example_once_between_them(folder):
    found = ranks.run(2, "bits.py", folder, folder=folder)
    for name, (examples, sample, _) in found[0]["reads"].items():
        parts = [rows for each in found for rows in [each["reads"][name][2]]]
        assert sorted(parts[0] + parts[1]) == list(range(examples))
        assert found[1]["reads"][name][1] == sample
