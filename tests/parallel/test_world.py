"""Who is there, and what the launcher has said of it."""

import re
import subprocess
import sys

import pytest
import ranks

from cnnx._kernels.ground import threads
from cnnx.errors import RankError
from cnnx.parallel import launchers, world


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in (*launchers.SIZES, *launchers.RANKS):
        monkeypatch.delenv(name, raising=False)


def test_without_a_launcher_mpi_is_not_even_imported():
    code = "import sys; from cnnx.parallel import Shards; Shards(4); assert 'mpi4py' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", launchers.SIZES)
def test_the_number_of_processes_is_read_from_every_launchers_variable(name, monkeypatch):
    assert not launchers.launched()
    monkeypatch.setenv(name, "1")
    assert not launchers.launched()
    monkeypatch.setenv(name, "16")
    assert launchers.launched()
    assert launchers.announced() == (16, name)
    monkeypatch.setenv(name, "many")
    assert launchers.announced() == (1, "")


@pytest.mark.parametrize("name", launchers.RANKS)
def test_a_rank_is_a_sign_of_a_launcher_too(name, monkeypatch):
    monkeypatch.setenv(name, "0")
    assert launchers.launched()


def test_mpi_that_knows_of_one_process_where_the_launcher_has_started_more_is_refused(monkeypatch):
    pytest.importorskip("mpi4py")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    code = "from cnnx.parallel import Shards; Shards(4)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "RuntimeError: Shards: the launcher has started 4 processes (SLURM_STEP_NUM_TASKS), but MPI (" in done.stderr
    assert "MPI4PY_LIBMPI=" in done.stderr


def test_a_launcher_without_mpi4py_names_the_extra(monkeypatch):
    monkeypatch.setenv("PMI_RANK", "0")
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.setattr(world, "_world", None)
    with pytest.raises(ImportError, match=r'needs mpi4py: python -m pip install "cnnx\[mpi\]"'):
        world.find_world()


def test_config_names_the_library_and_who_is_there(tmp_path):
    status, output, errors = ranks.finish(ranks.start(2, "-m", "cnnx", "config", folder=tmp_path))
    assert status == 0, errors
    # Two processes write to one pipe, and one's line may begin in the middle of the other's.
    assert sorted(re.findall(r"rank \d of \d", output)) == ["rank 0 of 2", "rank 1 of 2"]
    alone = world.describe()
    assert alone.endswith(", rank 0 of 1 (no launcher has started this process)")
    assert len(re.findall(rf"MPI +{re.escape(alone.split()[0])}", output)) == 2


def test_config_says_how_to_get_mpi4py(monkeypatch):
    monkeypatch.setattr(world, "find_spec", lambda name: None)
    assert world.describe() == 'none (mpi4py is not installed: python -m pip install "cnnx[mpi]")'


def test_ranks_at_different_places_are_an_error_of_all():
    alone = world.World()
    with pytest.raises(RankError, match=r"expected all ranks to do the same, got \['a', 'b'\]"):
        alone._opened("a", [("a", 1), ("b", 2)])
    with pytest.raises(RankError, match=r"rank 1: it broke"):
        alone._opened("a", [("a", 1), (world.ERROR, "it broke")])


def test_ranks_on_one_node_share_its_processors_unless_a_user_has_said_how(monkeypatch):
    before = threads.get_num_threads(), threads.threads_origin()
    try:
        monkeypatch.setattr(threads, "default_threads", lambda: (16, "a machine"))
        threads._set(16, "a machine")
        threads.share_processors(1)
        assert threads.get_num_threads() == 16
        threads.share_processors(5)
        assert (threads.get_num_threads(), threads.threads_origin()) == (3, "a machine, which 5 processes share")
        threads._set(16, "a machine")
        threads.share_processors(40)
        assert threads.get_num_threads() == 1
        threads.set_num_threads(7)
        threads.share_processors(4)
        assert threads.get_num_threads() == 7
        monkeypatch.setattr(threads, "default_threads", lambda: (8, "OMP_NUM_THREADS"))
        threads._set(8, "OMP_NUM_THREADS")
        threads.share_processors(4)
        assert threads.get_num_threads() == 8
    finally:
        threads._set(*before)
