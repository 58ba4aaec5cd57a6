"""The choice between compiled and NumPy kernels, of instruction sets and threads; forks."""

import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import cnnx
from cnnx import _kernels
from cnnx._kernels.ground.threads import _cgroup_quota, default_threads
from cnnx._kernels.reference import dense

compiled_only = pytest.mark.skipif(
    os.environ.get("CNNX_BACKEND") == "numpy", reason="CNNX_BACKEND=numpy says that no kernels are compiled"
)


def run_python(code, **environment):
    """Standard output and error of a fresh interpreter."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CNNX_", "OMP_"))}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=inherited | environment, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip(), done.stderr.strip()


@compiled_only
def test_the_compiled_kernels_are_the_ones_in_use():
    assert _kernels.unavailable == ""
    assert cnnx.backend_in_use() == "compiled"
    for module, functions in _kernels.KERNELS.items():
        for name in functions:
            assert getattr(_kernels, name) is getattr(_kernels._compiled[module], name)
        assert not _kernels._compiled[module].__file__.endswith(".py")


def test_every_compiled_module_is_in_the_list_that_a_build_is_checked_against():
    folder = Path(_kernels.__file__).parent
    sources = {(path.parent.name, path.stem) for path in folder.rglob("*.pyx")}
    listed = {(place, name) for place, names in _kernels.MODULES.items() for name in names}
    # Cython writes the code of memoryviews itself.
    assert sources | {("ground", "memoryviews")} == listed


@compiled_only
def test_the_place_that_means_closed_is_the_same_in_c_and_in_python():
    assert _kernels._compiled["instruction_sets"].closed_place() == _kernels.CLOSED


def test_every_kernel_of_the_twins_is_in_the_list_and_has_their_types():
    folder = Path(_kernels.__file__).parent
    families = {path.stem for path in (folder / "reference").glob("*.py")} - {"__init__", "windows"}
    assert families == set(_kernels.KERNELS)
    # For the type checker, the door has the names of the twins.
    door = Path(_kernels.__file__).read_text(encoding="utf-8")
    assert set(re.findall(r"from cnnx._kernels.reference.(\w+) import \*", door)) == families
    for family, functions in _kernels.KERNELS.items():
        twin = _kernels.twins(family)
        public = [name for name in vars(twin) if not name.startswith("_")]
        defined = {name for name in public if getattr(getattr(twin, name), "__module__", None) == twin.__name__}
        assert sorted(functions) == sorted(defined), family


@pytest.mark.parametrize("process", range(3))
def test_the_first_use_may_come_from_several_threads_at_once(process):
    code = """
import threading, numpy as np, cnnx
errors, together = [], threading.Barrier(6)
def train(seed):
    try:
        X, y = np.random.default_rng(seed).random((8, 8, 8, 1), dtype=np.float32), np.arange(8) % 10
        model = cnnx.models.small()
        together.wait()
        model.build((8, 8, 1), seed=seed)
        model.train_on_batch(X, y, 0.1)
    except Exception as error:
        errors.append(repr(error))
threads = [threading.Thread(target=train, args=(seed,)) for seed in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(errors)
"""
    assert run_python(code, CNNX_BACKEND=cnnx.backend_in_use()) == ("[]", "")


def test_use_backend_switches_every_kernel_and_restores_it():
    before = cnnx.backend_in_use()
    with cnnx.use_backend("numpy"):
        assert cnnx.backend_in_use() == "numpy"
        assert _kernels.dense_forward is dense.dense_forward
    assert cnnx.backend_in_use() == before


def test_a_backend_is_that_of_a_thread_alone():
    process, other = cnnx.backend_in_use(), "numpy"
    seen = []

    def ask(name):
        with cnnx.use_backend(name):
            seen.append((cnnx.backend_in_use(), _kernels.dense_forward is dense.dense_forward))

    with cnnx.use_backend(other):
        thread = threading.Thread(target=lambda: seen.append(cnnx.backend_in_use()))
        thread.start()
        thread.join()
        assert seen.pop() == process
        for name in _kernels.BACKENDS if _kernels._compiled else ("numpy",):
            thread = threading.Thread(target=ask, args=(name,))
            thread.start()
            thread.join()
            assert seen.pop() == (name, name == "numpy")
        assert _kernels.dense_forward is dense.dense_forward
    assert cnnx.backend_in_use() == process


def test_the_choice_of_a_thread_that_ended_is_forgotten():
    before = _kernels._Choice.count
    threads = [threading.Thread(target=cnnx.use_backend, args=("numpy",)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _kernels._Choice.count == before
    assert _kernels.add is _kernels.add
    assert ("add" in vars(_kernels)) == (before == 0)


def test_batches_are_prepared_with_the_backend_of_the_thread_that_takes_them():
    seen = []

    class Spy(cnnx.augmentation.Flip):
        def __call__(self, *given):
            seen.append((threading.current_thread() is threading.main_thread(), cnnx.backend_in_use()))
            return super().__call__(*given)

    from cnnx.data import ArrayBatches, Prefetched

    source = Prefetched(ArrayBatches(np.zeros((4, 3, 3, 1)), np.zeros(4, int), batch_size=2), [Spy()], seed=0)
    with cnnx.use_backend("numpy"):
        assert len(list(source.epoch(None))) == 2
    assert seen == [(False, "numpy")] * 2


@compiled_only
def test_predictions_keep_their_bits_while_another_thread_verifies(rng):
    X, y = rng.standard_normal((4, 12, 12, 3)).astype(np.float32), np.arange(4)
    served, verified = (
        cnnx.Model(cnnx.ConvolutionLayer(8, 3), cnnx.BatchNormLayer(), cnnx.GeluLayer(), cnnx.UpsampleLayer(2),
                   cnnx.PoolLayer(2), cnnx.GlobalPoolLayer(), cnnx.DenseLayer(4), cnnx.SoftmaxLayer())
        for _ in range(2)
    )  # fmt: skip
    for model in (served, verified):
        model.build((12, 12, 3), seed=0)
    expected, wrong, stop = served.predict_proba(X), [], threading.Event()

    def serve():
        while not stop.is_set():
            try:
                if not np.array_equal(served.predict_proba(X), expected):
                    wrong.append("other bits")
            except Exception as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=serve) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        verified.verify(X, y)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    served.predict_proba(X)
    bound = {name: vars(_kernels)[name].__module__ for name in _kernels.FAMILIES if name in vars(_kernels)}
    assert bound
    assert not [name for name, module in bound.items() if "reference" in module]


def test_use_backend_as_a_call_lasts():
    before = cnnx.backend_in_use()
    try:
        cnnx.use_backend("numpy")
        assert cnnx.backend_in_use() == "numpy"
    finally:
        cnnx.use_backend(before)


def test_use_backend_names_the_valid_backends():
    with pytest.raises(ValueError, match=r"expected one of \('compiled', 'numpy'\), got 'gpu'"):
        cnnx.use_backend("gpu")


def test_cnnx_backend_chooses_the_numpy_kernels_without_a_warning():
    out, errors = run_python("import cnnx; print(cnnx.backend_in_use())", CNNX_BACKEND="numpy")
    assert (out, errors) == ("numpy", "")


def test_an_unknown_cnnx_backend_is_an_error():
    _, errors = run_python("import cnnx", CNNX_BACKEND="fortran")
    assert "CNNX_BACKEND: expected one of ('compiled', 'numpy'), got 'fortran'" in errors


@pytest.mark.parametrize("asked_for", [True, False])
def test_kernels_that_were_not_asked_for_are_not_missed(tmp_path, asked_for):
    package = Path(cnnx.__file__).parent
    shutil.copytree(package, tmp_path / "cnnx", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__", "PURE"))
    if asked_for:
        (tmp_path / "cnnx" / "_kernels" / "PURE").write_text("")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import cnnx, cnnx.command.main; print(cnnx.__file__, cnnx.backend_in_use())\n"
        "cnnx.show_config(); print(cnnx.command.main.main(['verify', 'digits']))"
    )
    out, errors = run_python(code)
    assert out.splitlines()[0] == f"{tmp_path / 'cnnx' / '__init__.py'} numpy"
    assert ("RuntimeWarning" in errors) is not asked_for
    assert ("installed without them, with CNNX_PURE=1" in out) is asked_for
    assert "cnnx: error: verify compares the compiled kernels with their NumPy twins, and cannot do so here" in errors
    assert out.splitlines()[-1] == "2"


@pytest.mark.skipif(_kernels.is_pure(), reason="no compiled kernels were asked for, and none is missed")
@pytest.mark.parametrize(
    ("hidden", "reason"),
    [
        ("import sys; sys.modules['cnnx._kernels.ground.parallel'] = None\n", "cnnx._kernels.ground.parallel"),
        (
            "import os; files = os.listdir\n"
            "os.listdir = lambda folder: [file for file in files(folder) if not file.startswith('pooling.')]\n",
            "there is no compiled",
        ),
    ],
)
def test_a_missing_compiled_module_is_said_once_with_the_reason(hidden, reason):
    code = (
        f"{hidden}import cnnx, cnnx.network\n"
        "print(cnnx.backend_in_use())\n"
        "try: cnnx.use_backend('compiled')\n"
        "except ImportError as error: print(error)\n"
        "model = cnnx.models.small(); model.build((8, 8, 1), seed=0)\n"
        "print(model.forward([[[[0.5]] * 8] * 8]).shape)"
    )
    out, errors = run_python(code)
    assert out.splitlines()[0] == "numpy"
    assert out.splitlines()[-1] == "(1, 10)"
    assert "could not be loaded" in out.splitlines()[1]
    assert errors.count("RuntimeWarning: cnnx: the compiled kernels could not be loaded") == 1
    assert (reason if _kernels._compiled else "cnnx._kernels.ground.parallel") in errors


@compiled_only
@pytest.mark.parametrize("name", _kernels.available_instruction_sets())
def test_cnnx_isa_chooses_an_instruction_set(name):
    out, errors = run_python("import cnnx; print(cnnx._kernels.instruction_set_in_use())", CNNX_ISA=name)
    assert (out, errors) == (name, "")


@compiled_only
def test_an_instruction_set_that_the_machine_lacks_is_an_error():
    _, errors = run_python("import cnnx", CNNX_ISA="z80")
    assert "expected one of" in errors
    assert "got 'z80'" in errors


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"CNNX_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, "3 CNNX_NUM_THREADS"),
        ({"OMP_NUM_THREADS": "5,2"}, "5 OMP_NUM_THREADS"),
        ({"OMP_NUM_THREADS": " 5 "}, "5 OMP_NUM_THREADS"),
    ],
)
def test_the_number_of_threads_comes_from_the_environment(environment, expected):
    code = "import cnnx; from cnnx import _kernels; print(cnnx.get_num_threads(), _kernels.threads_origin())"
    assert run_python(code, CNNX_BACKEND=cnnx.backend_in_use(), **environment) == (expected, "")


@pytest.mark.parametrize("value", ["0", "auto", "2.0", "-1", "many,2", str(2**31), "9" * 5000, "\u0663"])
def test_a_number_of_threads_that_is_none_is_an_error_in_our_variable_and_passed_over_in_others(value, monkeypatch):
    monkeypatch.delenv("CNNX_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    expected = default_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert default_threads() == expected
    monkeypatch.setenv("CNNX_NUM_THREADS", value)
    with pytest.raises(ValueError, match="CNNX_NUM_THREADS: expected a number of threads, 1 or more, up to 4096, got"):
        default_threads()


@pytest.mark.parametrize("value", ["auto", ""])
def test_a_variable_of_others_does_not_stop_the_import_and_stays_as_it_was(value):
    code = "import os, cnnx; print(repr(os.environ['OMP_NUM_THREADS']))"
    assert run_python(code, CNNX_BACKEND=cnnx.backend_in_use(), OMP_NUM_THREADS=value) == (repr(value), "")


@pytest.mark.usefixtures("restored_kernels")
def test_set_num_threads_is_remembered_and_checked():
    cnnx.set_num_threads(3)
    assert cnnx.get_num_threads() == 3
    cnnx.set_num_threads(np.int64(2))
    assert type(cnnx.get_num_threads()) is int
    assert cnnx.get_num_threads() == 2
    for bad in (0, -1, 1.5, True, "2", 2**31, 2**70, np.int64(2**31), np.uint8(0), np.float64(2)):
        with pytest.raises(ValueError, match="set_num_threads: expected an integer of 1 or more"):
            cnnx.set_num_threads(bad)


def test_a_container_quota_limits_the_threads(tmp_path):
    assert _cgroup_quota(tmp_path) is None
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert _cgroup_quota(tmp_path) is None
    (tmp_path / "cpu.max").write_text("250000 100000\n")
    assert _cgroup_quota(tmp_path) == 2
    (tmp_path / "cpu.max").write_text("5000 100000\n")
    assert _cgroup_quota(tmp_path) == 1


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        # The least of all cgroups that this process is in.
        ("0::/a/b", {"a/b/cpu.max": "400000 100000", "a/cpu.max": "300000 100000", "cpu.max": "max 100000"}, 3),
        ("0::/a/b", {"a/b/cpu.max": "200000 100000", "a/cpu.max": "300000 100000"}, 2),
        ("0::/a", {"b/cpu.max": "200000 100000"}, None),
        ("0::/a", {"unified/a/cpu.max": "50000 100000"}, 1),
        ("0::/../../kube/pod", {"cpu.max": "200000 100000"}, 2),  # what is mounted begins below
        ("3:cpu,cpuacct:/a", {"cpu,cpuacct/a/cpu.cfs_quota_us": "20", "cpu,cpuacct/a/cpu.cfs_period_us": "10"}, 2),
        ("4:memory:/m\n1:cpu:/a/b", {"cpu/a/cpu.cfs_quota_us": "150000", "cpu/a/cpu.cfs_period_us": "50000"}, 3),
        ("1:cpu:/job", {"cpu/job/cpu.cfs_quota_us": "-1", "cpu/job/cpu.cfs_period_us": "100000"}, None),
        ("1:cpu:/docker/1", {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ("1:name=systemd:/s\n0::/", {"cpu.max": "rubbish"}, None),
        ("rubbish", {"cpu.max": "200000 100000"}, 2),
    ],
)  # fmt: skip
def test_the_quotas_of_the_process_and_of_all_that_it_lies_in_count(own, files, expected, tmp_path):
    (tmp_path / "own").write_text(own + "\n")
    for name, content in files.items():
        file = tmp_path / "root" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content + "\n")
    assert _cgroup_quota(str(tmp_path / "root"), str(tmp_path / "own")) == expected


def test_import_leaves_the_environment_as_it_was():
    code = "import os; before = dict(os.environ); import cnnx; print(dict(os.environ) == before)"
    assert run_python(code, CNNX_BACKEND=cnnx.backend_in_use()) == ("True", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_computes_and_does_not_hang():
    code = """
import os, numpy as np, cnnx
cnnx.set_num_threads(4)
model = cnnx.models.small()
model.build((8, 8, 1), seed=0)
X = np.random.default_rng(0).random((256, 8, 8, 1), dtype=np.float32)
y = np.arange(256) % 10
model.train_on_batch(X, y, 0.1)
expected = model.predict_proba(X)
pid = os.fork()
if pid == 0:
    one = cnnx.get_num_threads() == 1
    same = np.array_equal(model.predict_proba(X), expected)
    cnnx.set_num_threads(4)
    same = same and np.array_equal(model.predict_proba(X), expected)
    model.train_on_batch(X, y, 0.1)
    os._exit(0 if one and same else 1)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    # Python itself warns of forks with threads, so nothing is asked of the standard error.
    assert run_python(code, CNNX_BACKEND=cnnx.backend_in_use())[0] == "0"


def test_show_config_prints_all_that_a_bug_report_needs(capsys):
    cnnx.show_config()
    text = capsys.readouterr().out
    assert f"cnnx             {cnnx.__version__}" in text
    assert f"backend          {cnnx.backend_in_use()}" in text
    assert f"threads          {cnnx.get_num_threads()} (from " in text
    assert f"numpy            {np.__version__}" in text
    assert "available: " in text
