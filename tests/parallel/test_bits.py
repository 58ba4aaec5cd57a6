"""One checksum for any number of ranks, and for no MPI at all; and each rank reads its part alone."""

import json
import sys

import pytest
import ranks

sys.path.insert(0, str(ranks.PROGRAMS))
import bits

from cnnx.parallel import Shards


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    ranks.find_mpiexec()  # or nothing of this is needed
    path = tmp_path_factory.mktemp("ranks")
    bits.make_files(path)
    return path


@pytest.fixture(scope="module")
def alone(folder):
    """What one process comes to that no launcher has started."""
    shards = Shards(bits.SHARDS)
    assert (shards.rank, shards.size) == (0, 1)
    return json.loads(json.dumps(bits.results(folder, shards)))


@pytest.fixture(scope="module", params=[1, 2, 4])
def found(request, folder):
    """What each of so many ranks came to."""
    return ranks.run(request.param, "bits.py", folder, folder=folder)


def test_any_number_of_ranks_gives_the_same_bits_as_one_process_without_mpi(found, alone):
    for rank, each in enumerate(found):
        for name, expected in alone.items():
            assert each["bits"][name] == expected, f"rank {rank} of {len(found)}: {name}"


def test_ranks_read_a_sample_that_they_compare_and_then_every_example_once_between_them(found):
    for name in ("a mapped file", "pictures"):
        examples, sample, _ = found[0]["reads"][name]
        parts = [each["reads"][name][2] for each in found]
        assert sorted(row for rows in parts for row in rows) == list(range(examples))
        assert all(each["reads"][name][1] == sample for each in found)
        # Blocks differ by one example, and the last batch leaves some of them empty.
        assert max(map(len, parts)) <= examples / len(found) + 8
