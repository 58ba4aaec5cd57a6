"""What becomes of each operator, a file for each family; `OPERATORS` is the closed list."""

from cnnx.onnx.operators import (
    constants,
    elementwise,
    normalization,
    outputs,
    pooling,
    products,
    resizing,
    shapes,
)
from cnnx.onnx.walk import Operator

FAMILIES = (constants, elementwise, normalization, outputs, pooling, products, resizing, shapes)
OPERATORS: dict[tuple[str, str], Operator] = {
    (domain, name): operator
    for family in FAMILIES
    for domain, names in (("", family.OPERATORS), ("ai.onnx.ml", getattr(family, "ML_OPERATORS", {})))
    for name, operator in names.items()
}
