"""TensorRT without TensorRT: its names against the wheel's, the plan cache, and what a missing library says."""

import ast
import importlib.util
import json
import os
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.errors import ConfigError
from adaptseg_serve.predictor import load_predictor
from adaptseg_serve.runtimes import cuda, plan_cache

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "adaptseg_serve" / "runtimes" / "tensorrt.py"
NAMES = frozenset(json.loads((ROOT / "tests" / "data" / "tensorrt_11_names.json").read_text())["names"])
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


def known(name: str) -> bool:
    return name in NAMES or any(entry.endswith(name) for entry in NAMES)


def test_every_name_used_is_in_the_wheel() -> None:
    used = attributes(SOURCE.read_text())
    assert {
        "STRONGLY_TYPED",
        "set_shape",
        "execute_async_v3",
        "create_engine_inspector",
        "deserialize_cuda_engine",
    } <= used
    assert len(used) > 30
    assert not {name for name in used if not known(name)}


def test_a_name_that_tensorrt_11_removed_would_be_found() -> None:
    assert not any(known(name) for name in ("EXPLICIT_BATCH", "int8_calibrator", "create_builder_configuration"))
    assert not attributes(SOURCE.read_text()) & REMOVED


def test_the_module_stays_small() -> None:
    assert len(SOURCE.read_text().splitlines()) < 200


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed here")
def test_a_missing_library_is_one_sentence(tiny_bundle: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"TensorRT is not installed. Install it: pip install 'adaptseg-serve\[tensor"
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


def test_a_cache_that_others_may_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(plan_cache.FOLDER_VARIABLE, str(tmp_path))
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="chmod go-w"):
        plan_cache.cache_folder()
    assert not list(tmp_path.iterdir())


@pytest.mark.gpu
@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is None, reason="needs TensorRT and a GPU")
def test_an_engine_says_what_the_cpu_says_in_the_precision_asked_for(tmp_path: Path) -> None:
    """Builds from a lite0 export's fp16 graph: `adaptseg-export` with --precisions fp16."""
    folder = os.environ.get("ADAPTSEG_TEST_FP16_BUNDLE")
    if not folder:
        pytest.skip("set ADAPTSEG_TEST_FP16_BUNDLE to a bundle with an fp16 graph")
    bundle = open_bundle(folder)
    images = np.random.default_rng(0).integers(0, 256, (2, *bundle.preprocess.size, 3), dtype=np.uint8)
    predictor = load_predictor(bundle, runtime="tensorrt-fp16")
    expected = load_predictor(bundle, runtime="onnxruntime-cpu").predict(images, [images.shape[1:3]] * 2)
    found = predictor.predict(images, [images.shape[1:3]] * 2)
    assert np.mean(np.stack(found) == np.stack(expected)) > 0.99
    reports = list(plan_cache.cache_folder().glob("*.plan.json"))
    assert any("Half" in path.read_text() for path in reports)
