"""What a file is made of, read from its bytes before protobuf makes anything of them.

A message of protobuf is a row of fields, each with its number and either a whole number, four or eight bytes, or bytes
with their length before them, which may be a message again. A few bytes can stand for a message of a hundred in memory;
so fields are counted here first, and what no file for cnnx may have (functions, subgraphs, data in other files) is
refused before it exists.

The numbers are those of onnx.proto: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

# More than any network that is a chain has, and read within half a second.
MOST_FIELDS = 200_000

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5
# The fields of each message that are messages themselves.
MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "text", 14: "text", 26: "text"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value", 14: "annotation", 16: "text"},
    "node": {5: "attribute", 9: "text", 10: "text"},
    "attribute": {5: "tensor", 10: "tensor", 14: "type", 15: "type"},
    "tensor": {16: "text"},
    "value": {2: "type", 4: "text"},
    "type": {1: "tensor type", 4: "element", 5: "map", 9: "element"},
    "element": {1: "type"},
    "map": {2: "type"},
    "tensor type": {2: "shape"},
    "shape": {1: "text"},
    "annotation": {2: "text"},
    "text": {},
}
ELSEWHERE = "data in another file (PyTorch's exporter writes one file with external_data=False)"
REFUSED: dict[tuple[str, int], str] = {
    ("model", 20): "information for training",
    ("model", 25): "functions",
    ("graph", 15): "sparse tensors",
    ("attribute", 6): "a subgraph",
    ("attribute", 11): "subgraphs",
    ("attribute", 21): "an attribute that refers to a function's",
    ("attribute", 22): "a sparse tensor",
    ("attribute", 23): "sparse tensors",
    ("tensor", 3): "a tensor in segments",
    ("tensor", 13): ELSEWHERE,
    ("type", 8): "sparse tensors",
}
# Where a tensor says where its data are: 0 is in the file itself.
PLACE = ("tensor", 14)
DEEPEST = 16


def scan(data: bytes) -> None:
    """Walk through all fields of a model's messages.

    Raises
    ------
    ValueError
        If the bytes are no messages, or hold what is refused, or more than `MOST_FIELDS` fields.
    """
    waiting, fields = [("model", 0, len(data), 0)], 0
    while waiting:
        message, position, end, depth = waiting.pop()
        inside = MESSAGES[message]
        if depth > DEEPEST:
            raise ValueError(f"expected messages nested up to {DEEPEST} deep")
        while position < end:
            fields += 1
            if fields > MOST_FIELDS:
                raise ValueError(f"expected at most {MOST_FIELDS} fields")
            key, position = _whole_number(data, position, end)
            number, kind = key >> 3, key & 7
            if (message, number) in REFUSED:
                raise ValueError(f"it has {REFUSED[message, number]}, which cnnx does not read")
            start, position, value = _field(data, position, end, kind)
            if (message, number) == PLACE and value != 0:
                raise ValueError(f"it has {ELSEWHERE}, which cnnx does not read")
            if kind == BYTES and number in inside:
                # First what is inside, then what is left: no more waits than is nested.
                waiting += [(message, position, end, depth), (inside[number], start, position, depth + 1)]
                break


def _field(data: bytes, position: int, end: int, kind: int) -> tuple[int, int, int]:
    """Where a field's content begins and ends, and the whole number that it is, if it is one."""
    if kind == VARINT:
        value, stop = _whole_number(data, position, end)
        return position, stop, value
    if kind == BYTES:
        length, position = _whole_number(data, position, end)
    elif kind in (EIGHT_BYTES, FOUR_BYTES):
        length = 8 if kind == EIGHT_BYTES else 4
    else:
        raise ValueError("its bytes are no ONNX model")
    if length > end - position:
        raise ValueError("it is cut off, or its bytes are no ONNX model")
    return position, position + length, -1


def _whole_number(data: bytes, position: int, end: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            break
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise ValueError("it is cut off, or its bytes are no ONNX model")
