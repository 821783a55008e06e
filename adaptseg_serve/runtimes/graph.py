"""The bundle's graph as bytes, and what is checked of it before and after a runtime parses it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from adaptseg_serve.bundle import MODEL, Bundle
from adaptseg_serve.errors import BundleError
from adaptseg_serve.runtimes.protobuf import fields, message

_STANDARD_DOMAINS = {b"", b"ai.onnx"}

# The parts of onnx.proto that can hold a node or a tensor: message -> field number -> the message in that field.
_PARTS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
}
_NODE_DOMAIN, _TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 7, 13, 14


@dataclass(frozen=True)
class Port:
    """An input or output of a graph as a runtime sees it; `shape` holds -1 where a dimension is dynamic."""

    dtype: str
    shape: tuple[int, ...]


def read_graph(bundle: Bundle, name: str = MODEL) -> bytes:
    """Graph `name`, read once: what is returned has the manifest's digest, and names no file and no custom operator.

    Raises BundleError, saying what is wrong and how to mend it.
    """
    path, data = bundle.path / name, bundle.read(name)
    try:
        fault = _fault(memoryview(data))
    except (IndexError, ValueError) as error:
        raise BundleError(f"{path} is not an ONNX file ({error}). Export the checkpoint again.") from error
    if fault:
        raise BundleError(
            f"{path} {fault}; a bundle's graph has neither external data nor operators from "
            "outside ONNX (docs/bundle-format.md). Export the checkpoint again with adaptseg-export."
        )
    return data


def check_ports(bundle: Bundle, found: Mapping[str, Port], outputs: Collection[str] = ("label_map", "logits")) -> None:
    """BundleError unless the graph's inputs, and `outputs` of it, are what docs/bundle-format.md promises."""
    classes = len(bundle.labels)
    wanted = {
        "image": Port("uint8", (-1, -1, -1, 3)),
        "label_map": Port("uint8", (-1, -1, -1)),
        "logits": Port("float32", (-1, classes, -1, -1)),
    }
    wanted = {name: port for name, port in wanted.items() if name == "image" or name in outputs}
    wrong = [
        f"{name} is {found.get(name, 'missing')}, expected {port}"
        for name, port in wanted.items()
        if not _fits(found.get(name), port)
    ]
    if wrong or len(found) != len(wanted):
        raise BundleError(
            f"{bundle.model_path}: {'; '.join(wrong) or f'ports {sorted(found)}, expected {sorted(wanted)}'} "
            f"for {classes} classes (docs/bundle-format.md). Export the checkpoint again with adaptseg-export."
        )


def _fits(found: Port | None, wanted: Port) -> bool:
    """A dimension that the runtime doesn't know may be anything."""
    if found is None or found.dtype != wanted.dtype or len(found.shape) != len(wanted.shape):
        return False
    return all(a == b or -1 in (a, b) for a, b in zip(found.shape, wanted.shape, strict=True))


def _fault(model: memoryview) -> str | None:
    """The first thing in the ONNX file `model` that reaches outside of it."""
    parts = [("model", model)]
    while parts:
        kind, data = parts.pop()
        for number, value, _ in fields(data):
            if kind == "node" and number == _NODE_DOMAIN and bytes(message(value)) not in _STANDARD_DOMAINS:
                return f"uses an operator of the domain {bytes(message(value))!r}"
            if kind == "tensor" and (number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value)):
                return "keeps weights in another file"
            inner = _PARTS.get(kind, {}).get(number)
            if inner:
                parts.append((inner, message(value)))
    return None
