"""The onnxruntime predictor: its label maps, and the bundles it refuses."""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.gpu import needs_cuda
from helpers.tiny_bundle import write_tiny_bundle
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from adaptseg_serve.bundle import MODEL, Bundle, open_bundle
from adaptseg_serve.bundle_files import file_record
from adaptseg_serve.errors import BundleError, ConfigError
from adaptseg_serve.labels import CROSS_CITY
from adaptseg_serve.runtimes import graph
from adaptseg_serve.runtimes.cpus import usable_cpus
from adaptseg_serve.runtimes.onnxruntime import OnnxRuntimePredictor

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny"))


@pytest.fixture(scope="module")
def predictor(bundle: Bundle) -> OnnxRuntimePredictor:
    return OnnxRuntimePredictor(bundle, threads=1)


def damaged(folder: Path, change: Callable[[onnx.ModelProto], None]) -> Bundle:
    """A bundle whose graph was changed by someone who mended its digest too."""
    bundle = open_bundle(write_tiny_bundle(folder / "b"))
    model = onnx.load(str(bundle.model_path))
    change(model)
    bundle.model_path.write_bytes(model.SerializeToString())
    files = {MODEL: file_record(bundle.model_path)}
    return dataclasses.replace(bundle, manifest={**bundle.manifest, "files": files})


def test_the_cpu_runs_nothing_of_the_dense_tail(predictor: OnnxRuntimePredictor) -> None:
    assert [port.name for port in predictor._session.get_outputs()] == ["logits"]


def test_the_sparse_tail_answers_what_the_graph_itself_says(bundle: Bundle, predictor: OnnxRuntimePredictor) -> None:
    session = onnxruntime.InferenceSession(str(bundle.model_path), providers=["CPUExecutionProvider"])
    (dense,) = session.run(["label_map"], {"image": IMAGES})
    found = predictor.predict(IMAGES, [(48, 64)] * 3)
    assert predictor.runtime == "onnxruntime-cpu"
    assert np.mean(np.stack(found) == dense) > 0.999


def test_each_image_gets_its_own_size(predictor: OnnxRuntimePredictor) -> None:
    sizes = [(48, 64), (97, 31), (1, 1)]
    together = predictor.predict(IMAGES, sizes)
    assert [m.shape for m in together] == sizes
    for n, size in enumerate(sizes):
        np.testing.assert_array_equal(together[n], predictor.predict(IMAGES[n : n + 1], [size])[0])


def test_images_of_another_size_than_the_bundle_names(predictor: OnnxRuntimePredictor) -> None:
    assert predictor.predict(np.zeros((1, 80, 24, 3), np.uint8), [(80, 24)])[0].shape == (80, 24)


def test_as_many_sizes_as_images(predictor: OnnxRuntimePredictor) -> None:
    with pytest.raises(ValueError, match="shorter"):
        predictor.predict(IMAGES, [(48, 64)])


def test_align_corners_comes_from_the_bundle(bundle: Bundle, predictor: OnnxRuntimePredictor) -> None:
    baked = {**bundle.manifest["baked"], "align_corners": False}
    other = OnnxRuntimePredictor(dataclasses.replace(bundle, manifest={**bundle.manifest, "baked": baked}))
    assert (other.predict(IMAGES, [(48, 64)] * 3)[0] != predictor.predict(IMAGES, [(48, 64)] * 3)[0]).any()


def test_a_bundle_of_other_classes_is_refused(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"logits is .*19.*expected.*13"):
        OnnxRuntimePredictor(dataclasses.replace(bundle, labels=CROSS_CITY))


def test_a_missing_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"logits is missing.*adaptseg-export"):
        OnnxRuntimePredictor(damaged(tmp_path, lambda model: model.graph.output.pop(1)))


def test_an_input_of_another_type_is_refused(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT

    with pytest.raises(BundleError, match=r"image is .*float32"):
        OnnxRuntimePredictor(damaged(tmp_path, change))


def test_a_graph_that_is_wrong_in_itself_is_refused(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[0].op_type = "NoSuchOperator"

    with pytest.raises(BundleError, match=r"onnxruntime .* can't load it .*Export the checkpoint again"):
        OnnxRuntimePredictor(damaged(tmp_path, change))


def test_an_operator_of_another_domain_is_refused(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[0].domain = "com.example"

    with pytest.raises(BundleError, match=r"operator of the domain b'com\.example'"):
        OnnxRuntimePredictor(damaged(tmp_path, change))


def make_external(tensor: onnx.TensorProto) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")
    tensor.ClearField("raw_data")


def in_an_initializer(model: onnx.ModelProto) -> None:
    make_external(model.graph.initializer[0])


def in_a_branch(model: onnx.ModelProto) -> None:
    """A constant in a subgraph of a subgraph."""
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "w")
    make_external(tensor)
    for _ in range(3):
        inner = helper.make_graph([helper.make_node("Constant", [], ["w"], value=tensor)], "branch", [], [])
        model.graph.node.append(helper.make_node("If", ["c"], ["o"], then_branch=inner, else_branch=inner))


@pytest.mark.parametrize("change", [in_an_initializer, in_a_branch])
def test_weights_in_another_file_are_refused(tmp_path: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    with pytest.raises(BundleError, match="weights in another file"):
        OnnxRuntimePredictor(damaged(tmp_path, change))


def test_a_graph_changed_after_it_was_opened_is_refused(tmp_path: Path) -> None:
    bundle = open_bundle(write_tiny_bundle(tmp_path / "b"))
    bundle.model_path.write_bytes(b"something else")
    with pytest.raises(BundleError, match="changed after the bundle was opened"):
        OnnxRuntimePredictor(bundle)


@pytest.mark.parametrize("data", [b"\xff", b"\xff" * 40, b"\x0b\x00", b"\x3a\x05ab", b"\x38\x01"])
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, data: bytes) -> None:
    bundle = open_bundle(write_tiny_bundle(tmp_path / "b"))
    bundle.model_path.write_bytes(data)
    files = {MODEL: file_record(bundle.model_path)}
    with pytest.raises(BundleError, match="is not an ONNX file"):
        OnnxRuntimePredictor(dataclasses.replace(bundle, manifest={**bundle.manifest, "files": files}))


@given(st.binary(max_size=200))
def test_the_scan_survives_any_bytes(data: bytes) -> None:
    with contextlib.suppress(IndexError, ValueError):  # what the reader of a bundle takes for "not an ONNX file"
        fault = graph._fault(memoryview(data))
        assert fault is None or fault.startswith(("uses", "keeps"))


@pytest.mark.parametrize(
    ("content", "expected"), [("max 100000\n", 99), ("150000 100000\n", 2), ("1000 100000\n", 1), ("junk", 99)]
)
def test_threads_follow_the_containers_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, expected: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(99)))
    quota = tmp_path / "cpu.max"
    quota.write_text(content)
    assert usable_cpus(quota) == expected
    assert usable_cpus(tmp_path / "absent") == 99


def test_cuda_that_is_not_there_is_said(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ConfigError, match=r"no CUDAExecutionProvider, only CPU.*Install the extra"):
        OnnxRuntimePredictor(bundle, device="cuda")


@pytest.mark.gpu
@needs_cuda
def test_cuda_agrees_with_the_cpu(bundle: Bundle, predictor: OnnxRuntimePredictor) -> None:
    cuda = OnnxRuntimePredictor(bundle, device="cuda")
    assert cuda.runtime == "onnxruntime-cuda"
    for size in ((48, 64), (97, 131)):
        found, expected = cuda.predict(IMAGES, [size] * 3), predictor.predict(IMAGES, [size] * 3)
        assert np.mean(np.stack(found) == np.stack(expected)) > 0.999
