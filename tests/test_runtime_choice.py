"""Which runtime `auto` takes where a GPU can't be used, and what is said of it; GPUs are made up here."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import onnxruntime as ort
import pytest

from adaptseg_serve.bundle import Bundle, open_bundle
from adaptseg_serve.errors import ConfigError
from adaptseg_serve.predictor import load_predictor
from adaptseg_serve.runtimes import cuda, libraries, plan_cache, providers
from adaptseg_serve.runtimes.onnxruntime import OnnxRuntimePredictor


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return open_bundle(tiny_bundle)


@pytest.fixture
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(plan_cache.FOLDER_VARIABLE, str(tmp_path / "plans"))
    return tmp_path / "plans"


@pytest.fixture
def gpu_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime as its GPU wheel is, on a machine with a GPU, as far as the code before a session looks."""
    every = [providers.TENSORRT_PROVIDER, providers.CUDA_PROVIDER, providers.CPU_PROVIDER]
    monkeypatch.setattr(ort, "get_available_providers", lambda: every)
    monkeypatch.setattr(cuda, "check_device", lambda: None)


def fail_on_gpus(monkeypatch: pytest.MonkeyPatch, reason: str) -> list[str]:
    """Sessions of a GPU's provider raise `reason`; the list gets the first provider of each that is asked for."""
    asked: list[str] = []
    real = ort.InferenceSession

    def session(data: bytes, options: object, providers: list[tuple[str, object]], **rest: object) -> object:
        asked.append(providers[0][0])
        if providers[0][0] != "CPUExecutionProvider":
            raise RuntimeError(reason)
        return real(data, options, providers=providers, **rest)

    monkeypatch.setattr(ort, "InferenceSession", session)
    return asked


@pytest.mark.parametrize(
    "reason",
    [
        "CUDA failure 100: no CUDA-capable device is detected ; GPU=-1 ; expr=cudaSetDevice(info_.device_id);",
        "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version",
        "bfc_arena.cc: Failed to allocate memory for requested buffer of size 9437184",
    ],
)
def test_auto_takes_the_cpu_where_cuda_fails_and_warns(
    bundle: Bundle, gpu_wheel: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, reason: str
) -> None:
    asked = fail_on_gpus(monkeypatch, reason)
    assert load_predictor(bundle).runtime == "onnxruntime-cpu"
    assert asked == [providers.CUDA_PROVIDER, providers.CPU_PROVIDER], "once each: no graph was refused"
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert reason in warning.getMessage()
    with pytest.raises(ConfigError, match=r"can't start CUDAExecutionProvider for .*nvidia-smi"):
        load_predictor(bundle, runtime="onnxruntime-cuda")


def test_auto_takes_the_cpu_without_a_gpu_before_a_session_is_tried(
    bundle: Bundle, gpu_wheel: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_device() -> None:
        raise ConfigError("CUDA: cudaGetDeviceCount failed with cudaErrorNoDevice.")

    monkeypatch.setattr(cuda, "check_device", no_device)
    asked = fail_on_gpus(monkeypatch, "")
    assert load_predictor(bundle).runtime == "onnxruntime-cpu"
    assert asked == [providers.CPU_PROVIDER]
    assert "cudaErrorNoDevice" in caplog.text


def test_onnxruntime_without_cuda_is_no_reason_to_warn(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [providers.CPU_PROVIDER])
    assert load_predictor(bundle).runtime == "onnxruntime-cpu"
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (None, "tensorrt is not installed: pip install 'tensorrt>=10.4,<11'"),
        ("11.4.0", "tensorrt 11.4.0 is installed:"),
    ],
)
def test_the_tensorrt_provider_says_which_tensorrt_it_misses(
    bundle: Bundle, plans: Path, gpu_wheel: None, monkeypatch: pytest.MonkeyPatch, version: str | None, said: str
) -> None:
    found = None if version is None else SimpleNamespace(__version__=version)
    monkeypatch.setitem(sys.modules, "tensorrt", found)
    fail_on_gpus(monkeypatch, "libnvinfer.so.10: cannot open shared object file")
    with pytest.raises(ConfigError, match=re.escape(said)):
        OnnxRuntimePredictor(bundle, device="tensorrt")


def test_a_tensorrt_of_release_10_is_loaded_and_nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="10.16.1"))
    assert libraries.load_tensorrt() == ""


def test_cudas_libraries_are_asked_for_and_what_is_printed_goes_to_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ort, "preload_dlls", lambda: print("Failed to load libcudnn.so.9"), raising=False)
    with caplog.at_level("INFO"):
        libraries.load_cuda()
    assert capsys.readouterr().out == ""
    assert "Failed to load libcudnn.so.9" in caplog.text
    monkeypatch.delattr(ort, "preload_dlls")
    libraries.load_cuda()


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="onnxruntime has CUDA here")
def test_a_provider_that_is_missing_is_one_sentence(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match=r"has no \w+Provider, only .*gpu"):
        load_predictor(bundle, runtime="onnxruntime-cuda")
    assert load_predictor(bundle).runtime == "onnxruntime-cpu"
