"""The part of a graph that some of its outputs need.

onnxruntime runs every node, whatever is fetched (`RunOptions.only_execute_path_to_fetches` is for builds that train):
what shall not run must not be there. The graph is cut as bytes, for the service has no onnx package.
"""

from collections.abc import Collection, Iterator

from adaptseg_serve.runtimes.protobuf import fields, message

_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_OUTPUT = 1, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_ATTRIBUTE = 1, 2, 5
_ATTRIBUTE_GRAPHS = {6, 11}
_VALUE_NAME = 1


def cut(model: bytes, outputs: Collection[str]) -> bytes:
    """ONNX file `model` with `outputs` alone and the nodes that lead to them; unchanged where it lacks one of them."""
    wanted = {name.encode() for name in outputs}
    parts = [
        _field(number, _cut_graph(message(value), wanted)) if number == _MODEL_GRAPH else bytes(raw)
        for number, value, raw in fields(memoryview(model))
    ]
    return b"".join(parts)


def _cut_graph(graph: memoryview, wanted: set[bytes]) -> bytes:
    rows = list(fields(graph))
    outputs = {_name(message(value)) for number, value, _ in rows if number == _GRAPH_OUTPUT}
    if not wanted <= outputs:
        return bytes(graph)
    nodes = [message(value) for number, value, _ in rows if number == _GRAPH_NODE]
    needed = iter(_needed(nodes, wanted))
    return b"".join(
        raw
        for number, value, raw in rows
        if (number != _GRAPH_NODE or next(needed)) and (number != _GRAPH_OUTPUT or _name(message(value)) in wanted)
    )


def _needed(nodes: list[memoryview], wanted: set[bytes]) -> list[bool]:
    """Which of `nodes`, each after those that feed it as ONNX demands, lead to a value in `wanted`."""
    names, needed = set(wanted), []
    for node in reversed(nodes):
        made = {bytes(message(value)) for number, value, _ in fields(node) if number == _NODE_OUTPUT}
        needed.append(bool(made & names))
        if needed[-1]:
            names.update(_used(node))
    return needed[::-1]


def _used(node: memoryview) -> Iterator[bytes]:
    """Names that a node reads, those that its branches and loop bodies read from around it among them."""
    for number, value, _ in fields(node):
        if number == _NODE_INPUT:
            yield bytes(message(value))
        if number == _NODE_ATTRIBUTE:
            for part, graph, _ in fields(message(value)):
                if part in _ATTRIBUTE_GRAPHS:
                    yield from _used_inside(message(graph))


def _used_inside(graph: memoryview) -> Iterator[bytes]:
    for number, value, _ in fields(graph):
        if number == _GRAPH_NODE:
            yield from _used(message(value))
        if number == _GRAPH_OUTPUT:
            yield _name(message(value))


def _name(value: memoryview) -> bytes:
    return next((bytes(message(name)) for number, name, _ in fields(value) if number == _VALUE_NAME), b"")


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
