"""Rules of the code that can be checked by reading it. The exceptions are data, each with its reason.

A body's lines are those that hold code: docstrings, comments and blank lines do not count, nor does the signature.
Depth is that of statements inside a function: `for`, `if`, `with` and the like, and functions in it; `elif` and `else`
are as deep as their `if`.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import cnnx

MOST_LINES, MOST_DEPTH, MOST_PARAMETERS = 60, 4, 8

# What users call. `self` does not count.
MANY_PARAMETERS = {
    "Model.train": "one call says all of a training run",
    "CNNClassifier.__init__": "scikit-learn has one object say all of a training run",
    "CNNRegressor.__init__": "scikit-learn has one object say all of a training run",
}

# The calls that make arrays, the one place that makes working memory, and those that give parameters their start.
MAKERS = frozenset(kind + like for kind in ("empty", "zeros", "ones", "full") for like in ("", "_like"))
WORKING_MEMORY = "memory/arrays.py"
PARAMETER_MAKERS = ("_add_parameter", "_add_state")
# Arrays that are no working memory of a step, by the stem of the file and the function.
OTHER_MEMORY = {
    "initializers:zeros": "parameters",
    "initializers:find_initializer": "parameters",
    "base:Layer._add_parameter": "gradients of parameters",
    "parameters:gather": "the vectors of parameters and gradients",
    "standardize:StandardizeLayer.create": "constants, made by build",
    "standardize:StandardizeLayer._moments": "the training data is read once, before the first step",
    "standardize:_moments_of": "the training data is read once, before the first step",
    "transposed:TransposedConvolutionLayer.create": "a constant, made by build",
    "base:": "an optimizer's constant",
    "base:Optimizer.start": "an optimizer's state",
    "base:_norm": "a sum, one number",
    "regularizers:L1.penalize": "two sums",
    "regularizers:L2.penalize": "two sums",
    "normalization:BatchNormLayer._batch_statistics": "state: each step puts new arrays in the old ones' place",
    "sgd:SGD.start": "an optimizer's state",
    "nadam:Nadam.start": "an optimizer's state",
    "affine:sample": "examples on their way to a step",
    "erasing:CutOut.augment": "examples on their way to a step",
    "placement:Flip.augment": "examples on their way to a step",
    "placement:move": "examples on their way to a step",
    "folders:FolderBatches.read": "examples on their way to a step",
    "pictures:_stacked": "examples, read before the first step",
    "splitting:set_aside": "which examples are set aside",
    "tables:_parse": "the largest number of each column",
    "arrays:_Dataset.__getitem__": "examples on their way to a step",
    "arrays:_source": "no element: the check of a type",
    "metrics:_counts": "figures for the user",
    "metrics:_quotient": "figures for the user",
    "metrics:_weights_or_ones": "figures for the user",
    "plan:Plan.gradients": "a number for each example of a block of a batch",
    "tree:TreeSum.__init__": "sums over the blocks of a batch, kept for a whole run",
    "exchange:Exchange.__init__": "a step's message, kept for a whole run",
    "steps:ShardedSteps._prepare": "the gradients of a block, kept for a whole run",
    "verification:_compare_block.sums": "twins are compared on arrays of their own",
    "verification:_compare.loss_and_gradient": "twins are compared on an array of their own",
}

ROOT = Path(cnnx.__file__).parent
KERNELS = ROOT / "_kernels"
# No step passes here: arrays become the parameters that a file holds.
READERS = ROOT / "onnx"


class Function(NamedTuple):
    """A function of the package's Python."""

    path: Path
    name: str  # with its class, as in Model.train
    node: ast.FunctionDef | ast.AsyncFunctionDef

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.node.lineno} {self.name}"


def sources(pattern: str, folder: Path = ROOT) -> list[Path]:
    return sorted(folder.rglob(pattern))


def functions() -> Iterator[Function]:
    for path in sources("*.py"):
        yield from functions_of(path, ast.parse(path.read_text(encoding="utf-8")), "")


def functions_of(path: Path, node: ast.AST, inside: str) -> Iterator[Function]:
    for child in ast.iter_child_nodes(node):
        name = inside
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{inside}.{child.name}".lstrip(".")
            if not isinstance(child, ast.ClassDef):
                yield Function(path, name, child)
        yield from functions_of(path, child, name)


def docstring_lines(node: ast.AST) -> set[int]:
    """The lines of the docstrings of a function and those inside it."""
    lines: set[int] = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and ast.get_docstring(inner):
            lines.update(range(inner.body[0].lineno, inner.body[0].end_lineno + 1))
    return lines


def code_lines(lines: list[str]) -> int:
    return sum(bool(line.strip()) and not line.strip().startswith(("#", "//")) for line in lines)


def body_lines(function: Function) -> int:
    text = function.path.read_text(encoding="utf-8").splitlines()
    documentation = docstring_lines(function.node)
    body = range(function.node.body[0].lineno, function.node.end_lineno + 1)
    return code_lines([text[number - 1] for number in body if number not in documentation])


COMPOUND = (
    ast.If,
    ast.For,
    ast.While,
    ast.With,
    ast.Try,
    ast.Match,
    ast.AsyncFor,
    ast.AsyncWith,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
)


def depth(statement: ast.stmt) -> int:
    """How many statements lie in one another, this one included."""
    if not isinstance(statement, COMPOUND):
        return 0
    inside, beside = [], []
    for name in ("body", "orelse", "finalbody"):
        block = getattr(statement, name, [])
        is_elif = (
            name == "orelse" and isinstance(statement, ast.If) and len(block) == 1 and isinstance(block[0], ast.If)
        )
        (beside if is_elif else inside).extend(block)
    for part in (*getattr(statement, "handlers", []), *getattr(statement, "cases", [])):
        inside.extend(part.body)
    return max([1 + max(map(depth, inside), default=0), *map(depth, beside)])


def parameters(function: Function) -> int:
    arguments = function.node.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return sum(a.arg not in ("self", "cls") for a in named) + sum(bool(a) for a in (arguments.vararg, arguments.kwarg))


def assert_none(measured: dict, most: int) -> None:
    """Nothing measures more than it may; or all that does is named."""
    above = [f"{name}: {number}" for name, number in measured.items() if number > most]
    assert not above, "\n".join(above)


def test_no_body_of_a_function_is_long():
    assert_none({function: body_lines(function) for function in functions()}, MOST_LINES)


def test_statements_do_not_lie_deep_in_one_another():
    assert_none({function: max(map(depth, function.node.body)) for function in functions()}, MOST_DEPTH)


def test_only_what_users_call_has_many_parameters():
    counts = {function: parameters(function) for function in functions()}
    assert_none({f: count for f, count in counts.items() if f.name not in MANY_PARAMETERS}, MOST_PARAMETERS)
    many = {function.name for function, count in counts.items() if count > MOST_PARAMETERS}
    assert sorted(MANY_PARAMETERS.keys() - many) == [], "exceptions that are none"


# -- Memory ------------------------------------------------------------------------------------------------------


def allocations(node: ast.AST, inside: str = "") -> Iterator[tuple[str, int]]:
    """The function and the line of each call of NumPy that makes an array, but for parameters and state."""
    for child in ast.iter_child_nodes(node):
        name = inside
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            name = f"{inside}.{child.name}".lstrip(".")
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute):
            called = child.func
            if called.attr in PARAMETER_MAKERS:
                continue
            if called.attr in MAKERS and isinstance(called.value, ast.Name) and called.value.id in ("np", "numpy"):
                yield name, child.lineno
        yield from allocations(child, name)


def test_working_memory_is_made_in_one_place():
    elsewhere, exceptions = [], set()
    for path in sources("*.py"):
        if {KERNELS, READERS} & set(path.parents) or path == ROOT / WORKING_MEMORY:
            continue
        for name, line in allocations(ast.parse(path.read_text(encoding="utf-8"))):
            key = f"{path.stem}:{name}"
            if key in OTHER_MEMORY:
                exceptions.add(key)
            else:
                elsewhere.append(f"{path.relative_to(ROOT)}:{line} {name}")
    assert not elsewhere, "\n".join(elsewhere)
    assert sorted(OTHER_MEMORY.keys() - exceptions) == [], "exceptions that are none"


def test_nobody_writes_attributes_of_layers_but_their_state():
    outside = [path for path in sources("*.py") if "layers" not in path.relative_to(ROOT).parts[:1]]
    written = {
        (str(path.relative_to(ROOT)), target.attr)
        for path in outside
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "layer"
    }
    assert written
    assert {attribute for _, attribute in written} <= {"params", "grads", "state"}, written


# -- Kernels -----------------------------------------------------------------------------------------------------

DEFINITION = re.compile(r"(?P<indent> *)(?:def|cdef|cpdef) [^()#]*?(?P<name>\w+)\(")


def cython_functions(text: str) -> Iterator[tuple[str, int]]:
    """Name and lines of the body of each function in a .pyx or .pxd file."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        found = DEFINITION.match(line)
        if not found:
            continue
        start = number
        while not _closes(lines[number : start + 1]) and start + 1 < len(lines):
            start += 1
        if not lines[start].split("#")[0].rstrip().endswith(":"):
            continue  # a declaration, or a variable whose value is a call
        body = []
        for inner in lines[start + 1 :]:
            if inner.strip() and len(inner) - len(inner.lstrip()) <= len(found["indent"]):
                break
            body.append(inner)
        code = re.sub(r'^\s*"""(?:.|\n)*?"""', "", "\n".join(body))
        yield found["name"], code_lines(code.splitlines())


def _closes(lines: list[str]) -> bool:
    """Whether every parenthesis that is opened is closed."""
    text = "\n".join(line.split("#")[0] for line in lines)
    return text.count("(") == text.count(")")


def c_functions(text: str) -> Iterator[tuple[str, int]]:
    """Name and lines of the body of each function in a header, whose braces stand at the beginning of lines."""
    text = re.sub(r"/\*(?:.|\n)*?\*/", lambda comment: "\n" * comment[0].count("\n"), text)
    for head, body in re.findall(r"((?:^[^\n#{}].*\n)+)\{\n((?:.|\n)*?)^\}$", text, re.MULTILINE):
        yield re.search(r"(\w+)\)?\(", head.replace("NAME(", ""))[1], code_lines(body.splitlines())


@pytest.mark.skipif(not sources("*.pyx"), reason="the kernels' sources are not beside the package")
@pytest.mark.parametrize(
    ("pattern", "read"), [("*.pyx", cython_functions), ("*.pxd", cython_functions), ("*.h", c_functions)]
)
def test_no_body_of_a_kernel_is_long(pattern, read):
    found = {
        f"{path.relative_to(ROOT)} {name}": lines
        for path in sources(pattern, KERNELS)
        for name, lines in read(path.read_text(encoding="utf-8"))
    }
    assert found
    assert_none(found, MOST_LINES)
