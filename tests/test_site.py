"""The documentation site names every public thing."""

import importlib
import re
from pathlib import Path

import pytest

import cnnx
from cnnx import layers

API = Path(__file__).parent.parent / "docs" / "api"
MODULES = sorted({name for name, home in cnnx.LATER.items() if home == "cnnx"} | {"layers", "sklearn"})

pytestmark = pytest.mark.skipif(not API.is_dir(), reason="the documentation is not beside the tests")


def listed(page):
    return set(re.findall(r"^(?:   |\.\. autodata:: )(\w+)$", (API / f"{page}.rst").read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_of_a_module_is_in_the_reference(name):
    if name == "sklearn":
        pytest.importorskip("sklearn.base")
    module = importlib.import_module(f"cnnx.{name}")
    unlisted = {"Batch"} if name == "data" else {"History"} if name == "callbacks" else set()
    assert listed(name) == set(module.__all__) - unlisted


def test_every_public_name_of_the_package_is_in_the_reference():
    assert listed("cnnx") == set(cnnx.__all__) - set(layers.__all__) - set(MODULES) - {"__version__"}


def test_every_page_of_the_reference_is_in_its_list():
    pages = {page.stem for page in API.glob("*.rst")} - {"index"}
    assert listed("index") == pages == {*MODULES, "cnnx"}
