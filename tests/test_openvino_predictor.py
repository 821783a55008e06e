"""The OpenVINO predictor, and which runtime is chosen."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.tiny_bundle import write_tiny_bundle

from adaptseg_serve.bundle import Bundle, open_bundle
from adaptseg_serve.errors import BundleError, ConfigError
from adaptseg_serve.labels import CROSS_CITY
from adaptseg_serve.predictor import load_predictor

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
SIZES = [(48, 64), (97, 31), (1, 1)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny"))


@pytest.fixture
def openvino() -> Any:
    return pytest.importorskip("openvino", reason="needs the extra `openvino`")


def test_fp32_agrees_with_onnxruntime(bundle: Bundle, openvino: Any) -> None:
    expected = load_predictor(bundle, runtime="onnxruntime-cpu").predict(IMAGES, SIZES)
    predictor = load_predictor(bundle, threads=1, runtime="openvino")
    assert predictor.runtime == "openvino-cpu"
    for one, other in zip(predictor.predict(IMAGES, SIZES), expected, strict=True):
        assert one.shape == other.shape
        assert np.mean(one == other) > 0.999


def test_only_the_logits_are_computed(bundle: Bundle, openvino: Any) -> None:
    from adaptseg_serve.runtimes.openvino import _compile

    compiled = _compile(bundle, 1, "fp32")
    assert [port.any_name for port in compiled.outputs] == ["logits"]
    operations = {node.get_rt_info()["layerType"].astype(str) for node in compiled.get_runtime_model().get_ops()}
    assert not {name for name in operations if "Interp" in name or "TopK" in name}


def test_other_shapes_and_batches_need_no_new_predictor(bundle: Bundle, openvino: Any) -> None:
    predictor = load_predictor(bundle, runtime="openvino")
    for n, h, w in [(1, 48, 64), (4, 80, 24), (2, 49, 65)]:
        found = predictor.predict(np.zeros((n, h, w, 3), np.uint8), [(h, w)] * n)
        assert [m.shape for m in found] == [(h, w)] * n


def test_answers_outlive_the_next_call(bundle: Bundle, openvino: Any) -> None:
    predictor = load_predictor(bundle, runtime="openvino")
    first = predictor.predict(IMAGES[:1], [(48, 64)])[0]
    kept = first.copy()
    predictor.predict(IMAGES[1:2], [(48, 64)])
    np.testing.assert_array_equal(first, kept)


def test_bf16_is_near_where_the_processor_has_it(bundle: Bundle, openvino: Any) -> None:
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(ConfigError, match="no bf16 arithmetic"):
            load_predictor(bundle, runtime="openvino-bf16")
        return
    predictor = load_predictor(bundle, runtime="openvino-bf16")
    assert predictor.runtime == "openvino-cpu-bf16"
    expected = load_predictor(bundle, runtime="openvino").predict(IMAGES, SIZES)
    assert np.mean(predictor.predict(IMAGES, SIZES)[0] == expected[0]) > 0.97


def test_a_bundle_of_other_classes_is_refused(bundle: Bundle, openvino: Any) -> None:
    with pytest.raises(BundleError, match=r"logits is .*19.*expected.*13"):
        load_predictor(dataclasses.replace(bundle, labels=CROSS_CITY), runtime="openvino")


# The choice


def test_auto_is_onnxruntime_and_says_so(bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "adaptseg_serve.predictor"):
        predictor = load_predictor(bundle)
    assert predictor.runtime.startswith("onnxruntime-")
    assert f"runs on {predictor.runtime} (asked for: auto)" in caplog.text


def test_openvino_that_is_not_installed_is_said(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install -c constraints\.txt '\.\[openvino\]'"):
        load_predictor(bundle, runtime="openvino")


def test_an_unknown_runtime_is_refused_with_the_names_there_are(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match=r"no runtime 'tensorflow'; there are auto, onnxruntime-cpu"):
        load_predictor(bundle, runtime="tensorflow")  # type: ignore[arg-type]


def test_a_damaged_bundle_is_not_hidden_by_the_choice(bundle: Bundle, tmp_path: Path) -> None:
    other = open_bundle(write_tiny_bundle(tmp_path / "b"))
    other.model_path.write_bytes(b"")
    with pytest.raises(BundleError):
        load_predictor(other)
