"""heads.onnx against the CPU's kernels, and in the hands of those who ask for it."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from helpers.gpu import needs_cuda
from helpers.tiny_bundle import write_tiny_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from adaptseg_export.heads import write_heads
from adaptseg_export.writer import Record, write_bundle
from adaptseg_serve.bundle import HEADS, MODEL, Bundle, open_bundle
from adaptseg_serve.errors import BundleError
from adaptseg_serve.predictor import Scored
from adaptseg_serve.runtimes.heads import Heads
from adaptseg_serve.runtimes.onnxruntime import OnnxRuntimePredictor
from adaptseg_serve.runtimes.providers import CPU_PROVIDER
from adaptseg_serve.tail import Logits, label_map_from_logits
from adaptseg_serve.uncertainty import class_shares, mean_entropy, uncertainty_from_logits

NAMES = ["confidence", "entropy", "mean_entropy", "class_shares"]


def with_heads(folder: Path, classes: int = 19) -> Path:
    """The tiny bundle with a heads.onnx for `classes` classes."""
    tiny = open_bundle(write_tiny_bundle(folder / "plain"))
    write_heads(folder / HEADS, classes)
    record = Record(name="tiny", preprocess=tiny.preprocess, labels=tiny.labels)
    write_bundle(folder / "tiny", tiny.path / MODEL, record, graphs=[folder / HEADS])
    return folder / "tiny"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(with_heads(tmp_path_factory.mktemp("heads")))


def noise(shape: tuple[int, ...], spread: float = 5.0, seed: int = 0) -> NDArray[np.float32]:
    return (spread * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def run(path: Path, logits: Logits, size: tuple[int, int]) -> list[NDArray[np.float32]]:
    session = ort.InferenceSession(str(path), providers=[CPU_PROVIDER])
    found: list[NDArray[np.float32]] = session.run(NAMES, {"logits": logits, "size": np.array(size)})
    return found


def check(path: Path, logits: NDArray[np.float32], size: tuple[int, int], align_corners: bool = True) -> None:
    confidence, entropy, mean, shares = run(path, logits, size)
    for n, one in enumerate(logits):
        expected = uncertainty_from_logits(one, size, align_corners)
        np.testing.assert_allclose(confidence[n], expected.confidence, atol=1e-4)
        np.testing.assert_allclose(entropy[n], expected.entropy, atol=1e-4)
        assert mean[n] == pytest.approx(mean_entropy(one), abs=1e-5)
        label_map = label_map_from_logits(one, size, align_corners)
        np.testing.assert_allclose(shares[n], class_shares(label_map, len(one)), atol=2e-3 + 2 / label_map.size)


lengths = st.integers(1, 12)
sizes = st.tuples(st.integers(1, 70), st.integers(1, 70))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([0.1, 5.0, 100.0]), st.integers(1, 21), lengths, lengths, sizes, st.booleans())
def test_the_heads_say_what_the_kernels_say(
    tmp_path: Path, spread: float, classes: int, h: int, w: int, size: tuple[int, int], align_corners: bool
) -> None:
    write_heads(tmp_path / HEADS, classes, align_corners)
    check(tmp_path / HEADS, noise((2, classes, h, w), spread), size, align_corners)


def test_a_whole_frame(bundle: Bundle) -> None:
    check(bundle.path / HEADS, noise((1, 19, 65, 129)), (512, 1024))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_logit_that_is_no_number_leaves_numbers_in_range(bundle: Bundle, value: float) -> None:
    logits = noise((1, 19, 6, 7))
    logits[0, 2, 3, 3] = value
    confidence, entropy, mean, shares = run(bundle.path / HEADS, logits, (41, 43))
    for values in (confidence, entropy, mean, shares):
        assert np.isfinite(values).all()
        assert -1e-6 <= values.min() <= values.max() <= 1.00001
    assert shares.sum() == pytest.approx(1, abs=1e-5)


def test_a_predictor_of_the_cpu_leaves_them_to_the_kernels(bundle: Bundle) -> None:
    images = np.zeros((1, 48, 64, 3), np.uint8)
    (scored,) = OnnxRuntimePredictor(bundle, threads=1).predict_scored(images, [(48, 64)])
    assert scored.heads is None


def test_a_scored_answer_asks_the_heads_that_it_was_given(bundle: Bundle) -> None:
    logits = noise((19, 6, 8))
    label_map = label_map_from_logits(logits, (48, 64))
    heads = Heads(bundle, CPU_PROVIDER)
    found = Scored(label_map, logits, heads=heads.uncertainty).uncertainty()
    expected = Scored(label_map, logits).uncertainty()
    np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-4)
    np.testing.assert_allclose(found.entropy, expected.entropy, atol=1e-4)
    assert found.confidence.dtype == np.float32
    assert found.confidence.shape == (48, 64)


def test_logits_of_another_shape_are_refused(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match=r"expected \(C, h, w\)"):
        Heads(bundle, CPU_PROVIDER).uncertainty(noise((6, 8)), (48, 64))  # type: ignore[arg-type]  # what is refused


def test_another_graph_under_its_name_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    record = Record(name="tiny", preprocess=bundle.preprocess, labels=bundle.labels)
    (tmp_path / HEADS).write_bytes((bundle.path / MODEL).read_bytes())
    write_bundle(tmp_path / "b", bundle.path / MODEL, record, graphs=[tmp_path / HEADS])
    with pytest.raises(BundleError, match=r"heads\.onnx: its inputs"):
        Heads(open_bundle(tmp_path / "b"), CPU_PROVIDER)


@pytest.mark.gpu
@needs_cuda
def test_cuda_answers_by_its_heads(bundle: Bundle) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)
    for scored in OnnxRuntimePredictor(bundle, device="cuda").predict_scored(images, [(48, 64), (97, 31)]):
        assert scored.heads is not None
        found = scored.uncertainty()
        expected = Scored(scored.label_map, scored.logits).uncertainty()
        np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-3)
        np.testing.assert_allclose(found.entropy, expected.entropy, atol=1e-3)
