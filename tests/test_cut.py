"""A graph cut as bytes against onnx's own extractor, and against itself: the same numbers from fewer nodes."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from adaptseg_export.heads import write_heads
from adaptseg_serve.bundle import packaged_bundle
from adaptseg_serve.runtimes.cut import cut

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)


def nodes(model: bytes) -> list[str]:
    return [node.SerializeToString().hex() for node in onnx.load_model_from_string(model).graph.node]


def run(model: bytes, output: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert [port.name for port in session.get_outputs()] == [output]
    found: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = session.run(None, {"image": IMAGES})[0]
    return found


@pytest.mark.parametrize("packaged", [True, False])
@pytest.mark.parametrize("output", ["logits", "label_map"])
def test_what_is_left_is_what_onnx_extracts(tiny_bundle: Path, packaged: bool, output: str) -> None:
    path = (packaged_bundle() if packaged else tiny_bundle) / "model.onnx"
    found = cut(path.read_bytes(), [output])
    onnx.checker.check_model(found, full_check=True)
    extracted = onnx.utils.Extractor(onnx.load(str(path))).extract_model(["image"], [output])
    assert nodes(found) == nodes(extracted.SerializeToString())
    whole = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(run(found, output), whole.run([output], {"image": IMAGES})[0], atol=1e-5)


def test_logits_need_no_tail_and_label_maps_need_all(tiny_bundle: Path) -> None:
    whole = (tiny_bundle / "model.onnx").read_bytes()
    kinds = {node.op_type for node in onnx.load_model_from_string(cut(whole, ["logits"])).graph.node}
    assert "Conv" in kinds
    assert not kinds & {"Resize", "ArgMax"}
    assert nodes(cut(whole, ["label_map"])) == nodes(whole)
    assert onnx.load_model_from_string(cut(whole, ["label_map", "logits"])) == onnx.load_model_from_string(whole)


def test_a_graph_without_the_output_is_left_as_it_is(tiny_bundle: Path) -> None:
    whole = (tiny_bundle / "model.onnx").read_bytes()
    assert cut(whole, ["logits", "other"]) == whole


def test_the_grids_entropy_needs_no_map(tmp_path: Path) -> None:
    write_heads(tmp_path / "heads.onnx", 19)
    found = onnx.load_model_from_string(cut((tmp_path / "heads.onnx").read_bytes(), ["mean_entropy"]))
    assert not {"Resize", "ArgMax"} & {node.op_type for node in found.graph.node}


def test_what_a_branch_reads_from_around_it_stays() -> None:
    inner = helper.make_graph(
        [helper.make_node("Add", ["outer", "outer"], ["twice"])],
        "branch",
        [],
        [helper.make_tensor_value_info("twice", TensorProto.FLOAT, [1])],
    )
    passing = helper.make_graph([], "passing", [], [helper.make_tensor_value_info("kept", TensorProto.FLOAT, [1])])
    graph = helper.make_graph(
        [
            helper.make_node("Neg", ["x"], ["outer"]),
            helper.make_node("Abs", ["x"], ["kept"]),
            helper.make_node("Sqrt", ["x"], ["unused"]),
            helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=passing),
        ],
        "whole",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("unused", "y")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    found = onnx.load_model_from_string(cut(model.SerializeToString(), ["y"]))
    assert [node.op_type for node in found.graph.node] == ["Neg", "Abs", "If"]
