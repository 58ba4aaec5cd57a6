"""Imports point one way: a file knows the rooms below its own, and no two files know each other."""

import ast
import tomllib
from pathlib import Path

import pytest

import cnnx

PACKAGE = Path(cnnx.__file__).parent
# Each room, a folder or a file of `cnnx/`, and the rooms above it in this table that it may know.
GROUND = ("_typing", "_configured", "_kernels", "checks")
ROOMS = {
    "_typing": (),
    "_version": (),
    "_configured": (),
    "errors": (),
    "_kernels": ("_typing",),
    "checks": ("_typing",),
    "memory": GROUND,
    "layers": (*GROUND, "memory"),
    "plan": (*GROUND, "memory", "layers"),
    "files": (*GROUND, "layers"),
    "metrics": GROUND,
    "schedules": GROUND,
    "optimizers": (*GROUND, "schedules"),
    "regularizers": (*GROUND, "layers"),
    "augmentation": GROUND,
    "data": (*GROUND, "files", "augmentation"),
    "training": (
        *(*GROUND, "errors", "layers", "files", "schedules"),
        *("optimizers", "regularizers", "augmentation", "data"),
    ),
    "inspection": (*GROUND, "memory", "layers", "plan"),
    "plots": (*GROUND, "layers", "metrics", "inspection"),
    "callbacks": (*GROUND, "schedules", "training", "plots"),
    "parallel": (*GROUND, "_version", "errors", "layers", "augmentation", "data", "training"),
    "export": (*GROUND, "_version", "layers", "files"),
    "network": (
        *(*GROUND, "errors", "memory", "layers", "plan", "files", "schedules", "optimizers", "regularizers"),
        *("augmentation", "data", "training", "callbacks", "parallel", "inspection", "export"),
    ),
    "models": (*GROUND, "layers", "network"),
    "datasets": (*GROUND, "files"),
    "onnx": (*GROUND, "layers", "files", "network"),
    "images": ("files",),
    "verification": ("inspection",),
    "reporting": (
        *(*GROUND, "_version", "layers", "plan", "files", "metrics", "data"),
        *("inspection", "plots", "network"),
    ),
    "sklearn": (
        *(*GROUND, "layers", "schedules", "optimizers", "augmentation", "data", "callbacks", "network", "models"),
    ),
    "command": (
        *(*GROUND, "_version", "layers", "files", "metrics", "schedules", "optimizers", "augmentation", "data"),
        *("callbacks", "parallel", "inspection", "network", "models", "datasets", "onnx", "reporting"),
    ),
    "__main__": ("command",),
}


def name_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(name):
    """The files of the package that one of them imports, wherever in it: in functions and for type checkers, too."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {each if each in FILES else node.module for each in inside}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {each for each in found if each.partition(".")[0] == "cnnx"}


def room(name):
    return name.split(".")[1] if "." in name else name


@pytest.mark.parametrize("name", [name for name in FILES if name != "cnnx"])
def test_a_file_knows_its_own_room_and_those_that_the_table_names(name):
    known = {room(name), *ROOMS[room(name)]}
    for other in imports(name):
        assert other != "cnnx", f"{name} knows the package that is made of it"
        assert room(other) in known, f"{name} imports {other}"


def test_a_room_knows_only_rooms_before_it_in_the_table():
    order = list(ROOMS)
    for index, (name, known) in enumerate(ROOMS.items()):
        assert set(known) <= set(order[:index]), name
        assert len(set(known)) == len(known), name


def test_no_two_files_know_each_other_however_many_are_between_them():
    known = {name: imports(name) & FILES.keys() for name in FILES}
    while outside := known.keys() - set().union(*known.values()) | {name for name in known if not known[name]}:
        known = {name: others - outside for name, others in known.items() if name not in outside}
    assert not known


def test_the_list_of_packages_has_every_folder():
    project = Path(__file__).parent.parent / "pyproject.toml"
    listed = tomllib.loads(project.read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    assert listed == sorted(name for name, path in FILES.items() if path.name == "__init__.py")


def test_the_page_on_the_architecture_has_the_same_table():
    page = (Path(__file__).parent.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| `")
    ]
    shown = {name.strip("`"): known for name, _, known in (row for row in rows if len(row) == 3)}
    assert shown == {name: ", ".join(known) or "–" for name, known in ROOMS.items()}  # noqa: RUF001
