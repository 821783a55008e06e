"""TensorRT without TensorRT: its names against three wheels', the graph it gets, the plan cache, a missing library."""

import ast
import importlib.util
import json
import os
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.gpu import needs_tensorrt
from helpers.runs import files_of_at_most

from adaptseg_serve.bundle import open_bundle, packaged_bundle
from adaptseg_serve.errors import BundleError, ConfigError
from adaptseg_serve.predictor import load_predictor
from adaptseg_serve.runtimes import cuda, plan_cache, tensorrt_plan
from adaptseg_serve.runtimes.graph import read_graph
from adaptseg_serve.settings import read_settings

ROOT = Path(__file__).parents[1]
RELEASES = ("10.4", "10.16", "11.4")
SOURCE = ROOT / "adaptseg_serve" / "runtimes" / "tensorrt.py"
WHEELS = {release: json.loads((ROOT / f"tests/data/tensorrt_{release}_names.json").read_text()) for release in RELEASES}
OBJECTS = {
    "trt",
    "builder",
    "network",
    "parser",
    "config",
    "profile",
    "timing",
    "engine",
    "_engine",
    "context",
    "runtime",
}
OURS = {"runtime", "__init__"}  # not registered by pybind11 under these names
REMOVED = {"FP16", "BF16", "INT8", "int8_calibrator", "set_precision", "EXPLICIT_BATCH", "execute_v2", "build_engine"}


def attributes(source: str) -> set[str]:
    """Every attribute of `trt` and of the objects that come from it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            if name in OBJECTS or (isinstance(owner, ast.Attribute) and "trt" in ast.unparse(owner)):
                found.add(node.attr)
    return found - OURS


def known(name: str, release: str) -> bool:
    return any(entry.endswith(name) for entry in WHEELS[release]["names"])


@pytest.mark.parametrize("release", RELEASES)
def test_every_name_used_is_in_the_wheel(release: str) -> None:
    used = attributes(SOURCE.read_text())
    assert {
        "STRONGLY_TYPED",
        "set_shape",
        "execute_async_v3",
        "create_engine_inspector",
        "deserialize_cuda_engine",
    } <= used
    assert len(used) > 30
    assert not {name for name in used if not known(name, release)}


def test_a_name_that_tensorrt_11_removed_would_be_found() -> None:
    assert not any(
        known(name, "11.4") for name in ("EXPLICIT_BATCH", "int8_calibrator", "create_builder_configuration")
    )
    assert known("int8_calibrator", "10.4")
    assert not attributes(SOURCE.read_text()) & REMOVED


def test_bf16_is_a_flag_of_tensorrt_10_and_nobodys_in_11(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    for release in ("10.4", "10.16"):
        graph, flag = tensorrt_plan.graph_and_flag(bundle, "bf16", release)
        assert graph == "model.onnx"
        assert flag in WHEELS[release]["selections"]
    assert WHEELS["11.4"]["selections"] == []
    with pytest.raises(ConfigError, match=r"TensorRT 11\.4\.0 computes in the graph's own precision"):
        tensorrt_plan.graph_and_flag(bundle, "bf16", "11.4.0")
    assert tensorrt_plan.graph_and_flag(bundle, "fp32", "11.4.0") == ("model.onnx", "")
    with pytest.raises(BundleError, match="no fp16 graph"):
        tensorrt_plan.graph_and_flag(bundle, "fp16", "11.4.0")


@pytest.mark.parametrize("folder", [None, packaged_bundle()])
def test_the_graph_that_tensorrt_gets_casts_first_and_says_the_same_logits(tiny_bundle: Path, folder: Path) -> None:
    bundle = open_bundle(folder or tiny_bundle)
    whole = read_graph(bundle)
    cut = tensorrt_plan.logits_graph(whole)
    model = onnx.load_model_from_string(cut)
    onnx.checker.check_model(model, full_check=True)
    assert {node.op_type for node in model.graph.node if "image" in node.input} == {"Cast"}
    before, after = (
        Counter(node.op_type for node in each.graph.node) for each in (onnx.load_model_from_string(whole), model)
    )
    assert after["ArgMax"] == before["ArgMax"] - 1 == 0
    assert after["Resize"] == before["Resize"] - 1, "the tail's goes; the finer level's own stays"
    assert [port.name for port in model.graph.output] == ["logits"]
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    found, expected = (
        onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(["logits"], {"image": images})[0]
        for data in (cut, whole)
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


LAYERS_10 = [
    {"Name": "a", "Outputs": [{"Name": "x", "Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}]},
    {"Name": "b", "Outputs": [{"Name": "y", "Format/Datatype": "Half"}]},
    {"Name": "c", "Outputs": [{"Name": "logits", "Format/Datatype": "Row major linear FP32"}]},
]
LAYERS_11 = [{"Name": "a", "Outputs": [{"Name": "x", "DataType": "BFloat16", "Format": "kHWC8"}]}, {"Outputs": []}]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (LAYERS_10, {"fp16": 2, "fp32": 1}),
        (LAYERS_11, {"bf16": 1, "other": 1}),
        (["conv1", "conv2"], {"other": 2}),
    ],
)
def test_a_report_tells_precisions_and_memory_in_either_releases_words(
    layers: list[Any], expected: dict[str, int]
) -> None:
    assert tensorrt_plan.summary({"layers": layers, "device_memory_bytes": 7}) == (expected, 7)


def test_a_plan_that_fits_elsewhere_is_found_there_and_no_other(tiny_bundle: Path) -> None:
    def name(gpu: str, version: str, **flags: bool) -> str:
        options = replace(tensorrt_plan.build_options(open_bundle(tiny_bundle)), **flags)
        options = tensorrt_plan.options_for(gpu, options)
        return tensorrt_plan.plan_key("ab" * 32, gpu, version, "fp16", options).name

    h100, h200, t4 = "NVIDIA H100 9.0", "NVIDIA H200 9.0", "Tesla T4 7.5"
    assert name(h100, "10.4.0") != name(h200, "10.4.0")
    assert name(h100, "10.4.0") != name(h100, "10.16.1")
    assert name(h100, "10.4.0", hardware_compatible=True) == name(h200, "10.4.0", hardware_compatible=True)
    assert name(h100, "10.4.0", hardware_compatible=True) != name(t4, "10.4.0", hardware_compatible=True)
    assert name(t4, "10.4.0", hardware_compatible=True) == name(t4, "10.4.0"), "Turing has no such plans"
    assert name(h100, "10.4.0", version_compatible=True) == name(h100, "10.16.1", version_compatible=True)
    assert name(h100, "10.4.0", version_compatible=True) != name(h100, "11.4.0", version_compatible=True)
    assert name(h100, "10.4.0", version_compatible=True) != name(h100, "10.4.0")


@pytest.mark.parametrize(
    ("fits", "version", "hardware"),
    [("here", False, False), ("releases", True, False), ("gpus", False, True), ("everywhere", True, True)],
)
def test_the_environment_says_what_a_plan_is_built_for(
    tiny_bundle: Path, fits: str, version: bool, hardware: bool
) -> None:
    settings = read_settings({"ADAPTSEG_PLAN_FITS": fits, "ADAPTSEG_MAX_BATCH": "5"})
    options = tensorrt_plan.build_options(open_bundle(tiny_bundle), settings.engine)
    assert (options.version_compatible, options.hardware_compatible) == (version, hardware)
    assert options.profile.max[0] == 5


def test_the_module_stays_small() -> None:
    assert len(SOURCE.read_text().splitlines()) < 200


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed here")
def test_a_missing_library_is_one_sentence(tiny_bundle: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"TensorRT is not installed. Install it, in the checkout: pip install -c constraints.txt '\.\[tensor",
    ):
        load_predictor(open_bundle(tiny_bundle), runtime="tensorrt-fp16")


@pytest.mark.skipif(importlib.util.find_spec("cuda") is not None, reason="cuda-bindings is installed here")
def test_a_missing_cuda_runtime_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="CUDA runtime can't be used"):
        cuda.runtime()


def test_the_cuda_names_are_those_of_cuda_bindings() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="needs cuda-bindings (the extra `tensorrt`)")
    tree = ast.parse(Path(cuda.__file__).read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr.startswith("cuda")}
    assert {"cudaMallocHost", "cudaGraphLaunch", "cudaMemcpyAsync"} <= used
    kinds = (runtime, runtime.cudaMemcpyKind, runtime.cudaStreamCaptureMode)
    assert not {name for name in used if not any(hasattr(kind, name) for kind in kinds)}
    status, _ = runtime.cudaGetDeviceCount()
    if int(status) != 0:
        with pytest.raises(ConfigError, match=r"CUDA: cudaMallocHost failed with cudaError.*nvidia-smi"):
            cuda.Buffer((2, 3), np.float32)


KEY = plan_cache.PlanKey("ab" * 32, "NVIDIA H200 9.0", "11.4.0", "fp16", "1x512x1024")


@pytest.mark.parametrize("field", [f.name for f in fields(plan_cache.PlanKey)])
def test_any_other_machine_library_graph_or_precision_is_another_plan(field: str) -> None:
    assert replace(KEY, **{field: "other"}).name != KEY.name
    assert replace(KEY).name == KEY.name


def test_plans_come_from_the_machines_own_cache_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(plan_cache.FOLDER_VARIABLE, str(tmp_path / "plans"))
    assert plan_cache.read(KEY.name) is None
    plan_cache.store(KEY.name, b"plan")
    assert plan_cache.read(KEY.name) == b"plan"
    assert [p.name for p in (tmp_path / "plans").iterdir()] == [KEY.name]
    (tmp_path / "plans" / KEY.name).rename(tmp_path / "elsewhere")
    (tmp_path / "plans" / KEY.name).symlink_to(tmp_path / "elsewhere")
    assert plan_cache.read(KEY.name) is None


def test_a_full_disk_costs_the_plan_its_place_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(plan_cache.FOLDER_VARIABLE, str(tmp_path / "plans"))
    with files_of_at_most(1 << 10), caplog.at_level("WARNING"):
        plan_cache.store(KEY.name, bytes(1 << 20))
    assert "can't be stored" in caplog.text
    assert not list((tmp_path / "plans").iterdir())


def test_a_part_of_the_cache_is_its_owners_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(plan_cache.FOLDER_VARIABLE, str(tmp_path / "plans"))
    monkeypatch.delenv("HOME", raising=False)
    before = os.umask(0o002)
    try:
        part = plan_cache.cache_folder("onnxruntime-abc")
        assert plan_cache.cache_folder() == part.parent
    finally:
        os.umask(before)
    assert {each.stat().st_mode & 0o777 for each in (part, part.parent)} == {0o700}


def test_a_cache_that_can_not_be_made_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(plan_cache.FOLDER_VARIABLE, str(tmp_path / "file/plans"))
    with pytest.raises(ConfigError, match=r"can't be made \(Not a directory\)\. Set ADAPTSEG_PLAN_CACHE"):
        plan_cache.cache_folder()


def test_a_cache_that_others_may_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(plan_cache.FOLDER_VARIABLE, str(tmp_path))
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="chmod go-w"):
        plan_cache.cache_folder()
    assert not list(tmp_path.iterdir())


@pytest.mark.gpu
@needs_tensorrt
@pytest.mark.parametrize("runtime", ["tensorrt", "tensorrt-bf16", "tensorrt-fp16"])
def test_an_engine_says_what_the_cpu_says_in_the_precision_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    """fp16 needs a bundle with such a graph: `adaptseg-export` with --precisions fp16."""
    monkeypatch.setenv(plan_cache.FOLDER_VARIABLE, str(tmp_path / "plans"))
    folder = os.environ.get("ADAPTSEG_TEST_FP16_BUNDLE", "")
    if runtime == "tensorrt-fp16" and not folder:
        pytest.skip("set ADAPTSEG_TEST_FP16_BUNDLE to a bundle with an fp16 graph")
    bundle = open_bundle(folder or packaged_bundle())
    try:
        predictor = load_predictor(bundle, runtime=runtime)
    except ConfigError as error:
        if runtime != "tensorrt-bf16" or "own precision" not in str(error):
            raise
        pytest.skip(str(error))
    cpu = load_predictor(bundle, runtime="onnxruntime-cpu")
    height, width = bundle.preprocess.size
    for shape in ((1, height, width), (9, height, width)):  # 9 is more than the profile's
        images = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
        expected, found = (one.predict(images, [shape[1:]] * shape[0]) for one in (cpu, predictor))
        assert np.mean(np.stack(found) == np.stack(expected)) > (0.9999 if runtime == "tensorrt" else 0.99)
        np.testing.assert_array_equal(np.stack(predictor.predict(images, [shape[1:]] * shape[0])), np.stack(found))
    with pytest.raises(ConfigError, match="only for the bundle's size"):
        predictor.predict(np.zeros((1, height + 32, width, 3), np.uint8), [(height, width)])
    (report,) = (json.loads(path.read_text()) for path in plan_cache.cache_folder().glob("*.plan.json"))
    layers, memory = tensorrt_plan.summary(report)
    assert layers[runtime.partition("-")[2] or "fp32"] > 0
    assert memory > 0
