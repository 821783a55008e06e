"""Whatever a folder holds, it is a bundle or a BundleError; and what was checked is what is read."""

import dataclasses
import json
import os
import socket
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from helpers.tiny_bundle import write_tiny_bundle
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from adaptseg_serve.bundle import MANIFEST, MODEL, PARITY, Bundle, manifest_digest, open_bundle
from adaptseg_serve.bundle_files import MAX_FILE_BYTES, MAX_FILES, file_record
from adaptseg_serve.errors import BundleError
from adaptseg_serve.runtimes.graph import read_graph
from adaptseg_serve.runtimes.onnxruntime import OnnxRuntimePredictor

numbers = st.sampled_from([0, -1, 1, 2**31, 2**64, 10**400, 1e308, float("inf"), float("nan"), 0.5, True, None])
texts = st.sampled_from(["", "\ud800", "a\nb", "\0", "\u202e", "fp32", "../x", "x" * 300, "5", "inf"]) | st.text(
    max_size=4
)
values = st.recursive(
    numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(write_tiny_bundle(tmp_path_factory.mktemp("fuzz") / "tiny"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "tiny")


def write(folder: Path, manifest: Any) -> None:
    (folder / MANIFEST).write_text(json.dumps(manifest))


def listing(folder: Path, **entries: Any) -> None:
    """Add to `files`."""
    manifest = json.loads((folder / MANIFEST).read_text())
    write(folder, {**manifest, "files": {**manifest["files"], **entries}})


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a manifest."""
    yield path
    rows = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in rows:
        yield from leaves(inner, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(copy[path[0]], path[1:], new)
    return copy


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_any_value_anywhere_in_the_manifest(opened: Bundle, data: st.DataObject) -> None:
    reference = {"data": "a/b", "images": 3, "class_shares": [1.0] + [0.0] * 18, "mean_entropy": 0.1}
    whole = {**opened.manifest, "reference": reference, "artifacts": {}}
    path = data.draw(st.sampled_from(sorted(leaves(whole), key=str)))
    original = (opened.path / MANIFEST).read_bytes()
    try:
        write(opened.path, changed(whole, path, data.draw(values)))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = open_bundle(opened.path)
        json.dumps(found.manifest, allow_nan=False, ensure_ascii=False).encode()  # what /v1/models answers
        found.labels.palette()[found.labels.to_label_ids()]
        assert found.name.isprintable()
        assert all(0 <= c.label_id < 256 for c in found.labels.classes)
    except BundleError as error:
        str(error).encode()  # a log and a terminal can say it
    finally:
        (opened.path / MANIFEST).write_bytes(original)


NO_NAMES = ("../x", "/etc/hostname", "a/b", "a\\b", "..", ".", "", ".hidden", "a\0b", "a\nb", "mode\u217c.onnx")


@pytest.mark.parametrize("name", [*NO_NAMES, "\uff0e\uff0e/x", "BUNDLE.JSON", MANIFEST, "x" * 300, "con:", "-rf"])
def test_names_that_are_no_plain_file_names(folder: Path, name: str) -> None:
    listing(folder, **{name: file_record(folder / MODEL)})
    with pytest.raises(BundleError, match="only plain file names") as caught:
        open_bundle(folder)
    str(caught.value).encode()


@pytest.mark.parametrize("size", [-1, True, 1.0, "1", None, 10**30, MAX_FILE_BYTES + 1])
def test_sizes_that_no_file_has(folder: Path, size: Any) -> None:
    listing(folder, **{"other.onnx": {"sha256": "0" * 64, "bytes": size}})
    with pytest.raises(BundleError, match=r"other\.onnx"):
        open_bundle(folder)


def test_a_huge_sparse_file_is_refused_unread(folder: Path) -> None:
    with (folder / "other.onnx").open("wb") as stream:
        stream.truncate(1 << 40)
    listing(folder, **{"other.onnx": {"sha256": "0" * 64, "bytes": 1000}})
    with pytest.raises(BundleError, match=f"{1 << 40} bytes"):
        open_bundle(folder)


def test_more_files_than_a_bundle_has(folder: Path) -> None:
    listing(folder, **{f"m{i}.onnx": file_record(folder / MODEL) for i in range(MAX_FILES)})
    with pytest.raises(BundleError, match=f"at most {MAX_FILES}"):
        open_bundle(folder)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(path.parent, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/{path.name}")  # a socket's path may have 108 bytes only
        os.close(here)


ODD: list[Callable[[Path], None]] = [Path.mkdir, fifo, link_to_itself, link_to_device, unix_socket]


@pytest.mark.parametrize("make", ODD)
@pytest.mark.parametrize("name", [MODEL, MANIFEST])
def test_what_is_no_file_is_neither_followed_nor_waited_for(folder: Path, name: str, make: Callable[..., None]) -> None:
    (folder / name).unlink()
    make(folder / name)
    with pytest.raises(BundleError, match=name):
        open_bundle(folder)
    if name == MANIFEST:
        assert manifest_digest(folder) is None


def test_a_hard_link_is_a_file_like_any_other(folder: Path) -> None:
    os.link(folder / MODEL, folder.parent / "elsewhere.onnx")
    assert open_bundle(folder).name == "tiny"


@pytest.mark.parametrize("make", [*ODD, lambda path: path.write_bytes(b"x"), lambda path: None])
def test_what_changed_after_opening_is_not_read(folder: Path, make: Callable[[Path], object]) -> None:
    (folder / PARITY).write_text("{}")
    listing(folder, **{PARITY: file_record(folder / PARITY)})
    bundle = open_bundle(folder)
    for name, read in ((MODEL, lambda: read_graph(bundle)), (PARITY, bundle.parity)):
        read()
        (folder / name).unlink()
        make(folder / name)
        with pytest.raises(BundleError, match=name):
            read()


def test_a_file_that_grew_is_not_read_to_its_end(folder: Path) -> None:
    bundle = open_bundle(folder)
    with (folder / MODEL).open("r+b") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(BundleError, match="changed after"):
        read_graph(bundle)


def with_graph(bundle: Bundle, data: bytes) -> Bundle:
    """`bundle` with other bytes for a graph, and their digest: what someone would make on purpose."""
    bundle.model_path.write_bytes(data)
    files = {MODEL: file_record(bundle.model_path)}
    return dataclasses.replace(bundle, manifest={**bundle.manifest, "files": files})


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_graph_is_refused_or_runs(opened: Bundle, data: st.DataObject) -> None:
    whole = opened.model_path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    garbled = bytearray(whole[:cut] if data.draw(st.booleans()) else whole)
    for _ in range(data.draw(st.integers(0, 3))):
        if garbled:
            garbled[data.draw(st.integers(0, min(len(garbled) - 1, 400)))] = data.draw(st.integers(0, 255))
    said = "runs"
    try:
        OnnxRuntimePredictor(with_graph(opened, bytes(garbled)), threads=1)
    except BundleError as error:
        said = str(error)
    finally:
        opened.model_path.write_bytes(whole)
    assert said.encode(errors="strict"), "a refusal says why, in words that can be printed"


def varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def field(number: int, content: bytes, high: int = 0) -> bytes:
    """A protobuf field; bits above 32 of its tag, which parsers drop, hold `high`."""
    return varint((number << 3 | 2) + (high << 32)) + varint(len(content)) + content


@pytest.mark.parametrize("high", [0, 1, 7])
def test_a_field_hidden_behind_a_long_tag_is_found(folder: Path, high: int) -> None:
    """onnxruntime reads number 13 of these tags, external data; a reader of whole tags would see another number."""
    entry = field(1, b"location") + field(2, b"/etc/hostname")
    tensor = field(8, b"sneaky") + field(13, entry, high) + varint((14 << 3) + (high << 32)) + varint(1)
    model = onnx.load(str(folder / MODEL))
    graph = model.graph.SerializeToString() + field(5, tensor)
    model.ClearField("graph")
    with pytest.raises(BundleError, match=r"weights in another file|not an ONNX file"):
        read_graph(with_graph(open_bundle(folder), model.SerializeToString() + field(7, graph)))


def declare_a_huge_weight(model: onnx.ModelProto) -> None:
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([1 << 20, 1 << 20, 1 << 10])


def declare_a_negative_weight(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = -1


def fill_more_than_there_is(model: onnx.ModelProto) -> None:
    shape = helper.make_tensor("huge", TensorProto.INT64, [3], [1 << 30, 1 << 30, 1 << 20])
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("ConstantOfShape", ["huge"], ["filled"]))
    model.graph.node.append(helper.make_node("ReduceSum", ["filled"], ["sum"], keepdims=0))
    model.graph.node.append(helper.make_node("Add", ["logits", "sum"], ["more"]))
    model.graph.output[1].name = "more"


def loop_on_itself(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "label_map"


@pytest.mark.parametrize(
    "change", [declare_a_huge_weight, declare_a_negative_weight, fill_more_than_there_is, loop_on_itself]
)
def test_what_a_graph_can_not_mean_is_refused(folder: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    bundle = open_bundle(folder)
    model = onnx.load(str(bundle.model_path))
    change(model)
    with pytest.raises(BundleError):
        OnnxRuntimePredictor(with_graph(bundle, model.SerializeToString()), threads=1)


def test_the_tiny_bundle_itself_runs(opened: Bundle) -> None:
    images = np.zeros((1, 48, 64, 3), np.uint8)
    assert OnnxRuntimePredictor(opened, threads=1).predict(images, [(48, 64)])[0].shape == (48, 64)
