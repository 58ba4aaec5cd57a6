"""The package as a whole: names, version, imports."""

import doctest
import importlib
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import cnnx


def test_every_public_name_is_there_and_documented():
    for name in cnnx.__all__:
        value = getattr(cnnx, name)
        if name != "__version__":
            assert value.__doc__, name


def test_the_version_is_the_one_of_the_installed_package():
    assert metadata.version("cnnx") == cnnx.__version__


@pytest.mark.parametrize("heavy", ["safetensors", "tqdm", "PIL", "matplotlib", "jinja2", "argparse"])
def test_import_leaves_for_later_what_only_some_use(heavy):
    code = f"import numpy, sys; known = set(sys.modules); import cnnx; print({heavy!r} in set(sys.modules) - known)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


PACKAGE = Path(cnnx.__file__).parent
# Those of `cnnx.sklearn` are run where its extra is known to be there.
WITH_EXAMPLES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.parent.name != "sklearn" and ">>> " in path.read_text("utf-8")
]


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_in_docstrings_run(module):
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0


EXTRAS = (
    *("sklearn", "onnx", "onnxruntime", "matplotlib", "jinja2", "PIL", "pandas", "mpi4py", "pooch", "requests"),
    *("tensorboardX", "IPython", "ipywidgets"),
)


def test_nothing_of_the_extras_is_imported_by_training_and_predicting(tmp_path):
    code = f"""
import sys, cnnx
(X, y), (X_test, y_test) = cnnx.datasets.load_digits()
model = cnnx.models.small()
model.train(X, y, 0.1, validation_data=(X_test, y_test), augment=[cnnx.augmentation.Shift(1)], verbose=True)
model.predict(X_test), model.folded().predict_proba(X_test), model.evaluate(X_test, y_test), repr(model)
model.save("m"); cnnx.Model.load("m")
print([name for name in {EXTRAS!r} if name in sys.modules])
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]"


ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(not (ROOT / "conda").is_dir(), reason="the recipe is not beside the tests")
def test_the_conda_recipe_and_the_citation_say_what_the_package_says():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    recipe, citation = ((ROOT / name).read_text("utf-8") for name in ("conda/recipe.yaml", "CITATION.cff"))
    needed = re.findall(r"^    - (\S+ >=\S+)$", recipe.partition("  run:")[2].partition("tests:")[0], re.MULTILINE)
    assert [name.replace(" ", "") for name in needed] == project["project"]["dependencies"]
    for name in ("setuptools", "cython"):
        bound = next(line for line in project["build-system"]["requires"] if line.lower().startswith(name))
        assert f"- {bound.lower().replace('>=', ' >=')}" in recipe
    assert f'version: "{cnnx.__version__}"' in recipe
    assert f"\nversion: {cnnx.__version__}\n" in citation
