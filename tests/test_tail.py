"""The tail against torch's interpolate + argmax in float64: equal but for ties within 1e-4, and few of those."""

import logging
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from adaptseg_serve import tail
from adaptseg_serve.tail import Logits, label_map_from_logits

TIE = 1e-4
"""Two scores this close (logits have a spread of about 5) count as a tie."""

Kind = str
KINDS = ("noise", "smooth", "constant", "plateaus", "near ties", "large")
ROOT = Path(__file__).parents[1]


def make_logits(kind: Kind, shape: tuple[int, int, int], seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=shape)
    match kind:
        case "noise":
            found = 5 * noise
        case "smooth":
            found = np.stack([cv2.GaussianBlur(plane, (0, 0), 3) for plane in noise])
            found *= 5 / max(found.std(), 1e-9)
        case "constant":
            found = np.broadcast_to(noise[:, :1, :1], shape)
        case "plateaus":  # a few whole numbers: exact ties everywhere
            found = rng.integers(-2, 3, shape)
        case "near ties":  # all classes alike but for the last bits of float32
            found = 5 * noise[:1] + 1e-6 * rng.normal(size=shape)
        case _:  # far from zero, so that float32 has few digits left for the differences
            found = 100 + 5 * noise
    return np.ascontiguousarray(found, np.float32)


def upsampled(logits: Logits, size: tuple[int, int], align_corners: bool) -> torch.Tensor:
    """(C, H, W) float64 scores."""
    planes = torch.from_numpy(logits).double()[None]
    return torch.nn.functional.interpolate(planes, size, mode="bilinear", align_corners=align_corners)[0]


def check(logits: Logits, size: tuple[int, int], align_corners: bool, found: NDArray[np.uint8] | None = None) -> int:
    """Assert that every pixel's class has the best score or one within TIE of it; return how many differ."""
    if found is None:
        found = label_map_from_logits(logits, size, align_corners)
    assert found.shape == size
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    scores = upsampled(logits, size, align_corners)
    index = torch.from_numpy(found).long()
    lost = scores.max(0).values - scores.gather(0, index[None])[0]
    assert float(lost.max()) <= TIE
    return int((scores.argmax(0) != index).sum())


lengths = st.integers(1, 40)
sizes = st.tuples(st.integers(1, 150), st.integers(1, 150))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 21), lengths, lengths, sizes, st.booleans(), st.integers(0, 2**32 - 1))
def test_equal_to_torch(
    kind: Kind, classes: int, h: int, w: int, size: tuple[int, int], align_corners: bool, seed: int
) -> None:
    check(make_logits(kind, (classes, h, w), seed), size, align_corners)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(("kind", "allowed"), [("noise", 20), ("smooth", 20), ("constant", 0)])
def test_a_whole_frame_differs_in_a_handful_of_ties(kind: Kind, allowed: int, align_corners: bool) -> None:
    assert check(make_logits(kind, (19, 65, 129)), (512, 1024), align_corners) <= allowed


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (3, 4), (4, 5), (8, 8), (9, 17), (513, 3), (2, 1025)])
@pytest.mark.parametrize("logit_size", [(1, 1), (1, 5), (4, 1), (2, 2), (4, 5), (33, 17)])
def test_odd_sizes_and_downsampling(logit_size: tuple[int, int], size: tuple[int, int], align_corners: bool) -> None:
    check(make_logits("noise", (5, *logit_size)), size, align_corners)


def test_same_size_is_argmax() -> None:
    logits = make_logits("plateaus", (19, 31, 47))
    for align_corners in (True, False):
        np.testing.assert_array_equal(label_map_from_logits(logits, (31, 47), align_corners), logits.argmax(0))


def test_exact_ties_go_to_the_lowest_train_id() -> None:
    one = make_logits("noise", (6, 9, 9))
    doubled = np.concatenate([one, one])  # class k + 6 is class k again
    np.testing.assert_array_equal(label_map_from_logits(doubled, (70, 70)), label_map_from_logits(one, (70, 70)))


def test_255_classes() -> None:
    check(make_logits("noise", (255, 5, 6)), (40, 41), True)


def test_a_batch_and_other_memory_layouts() -> None:
    batch = make_logits("smooth", (2 * 7, 9, 11)).reshape(2, 7, 9, 11)
    channels_last = np.ascontiguousarray(batch.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for one, same in zip(batch, channels_last, strict=True):
        np.testing.assert_array_equal(label_map_from_logits(same, (64, 80)), label_map_from_logits(one, (64, 80)))


def test_float16() -> None:
    half = make_logits("smooth", (19, 17, 33)).astype(np.float16)
    np.testing.assert_array_equal(
        label_map_from_logits(half, (129, 257)), label_map_from_logits(half.astype(np.float32), (129, 257))
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_spoils_its_own_cells_only(value: float) -> None:
    logits = make_logits("noise", (7, 9, 9))
    sound = label_map_from_logits(logits, (65, 65))
    logits[3, 4, 4] = value
    found = label_map_from_logits(logits, (65, 65))
    around = np.zeros((65, 65), bool)
    around[24:41, 24:41] = True  # the four cells that touch logit (4, 4); 8 pixels each
    np.testing.assert_array_equal(found[~around], sound[~around])
    assert found.max() < 7


def test_the_first_class_may_be_no_number_too() -> None:
    """It is where the search for the best begins."""
    logits = make_logits("noise", (7, 9, 9))
    sound = label_map_from_logits(logits[1:], (65, 65)) + 1
    logits[0] = np.nan
    np.testing.assert_array_equal(label_map_from_logits(logits, (9, 9)), 1 + logits[1:].argmax(0))
    np.testing.assert_array_equal(label_map_from_logits(logits, (65, 65)), sound)


def test_all_nan_is_some_class() -> None:
    assert label_map_from_logits(np.full((4, 3, 3), np.nan, np.float32), (20, 20)).max() < 4


def test_a_class_masked_with_minus_infinity_never_wins() -> None:
    logits = make_logits("smooth", (5, 9, 9))
    logits[2] = -np.inf
    rest = label_map_from_logits(np.delete(logits, 2, 0), (70, 70))
    np.testing.assert_array_equal(label_map_from_logits(logits, (70, 70)), np.array([0, 1, 3, 4], np.uint8)[rest])


@pytest.mark.parametrize(
    ("shape", "size"), [((3, 3), (9, 9)), ((0, 3, 3), (9, 9)), ((256, 3, 3), (9, 9)), ((2, 3, 3), (0, 9))]
)
def test_a_wrong_shape_is_refused(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"expected \(C, h, w\)"):
        label_map_from_logits(np.zeros(shape, np.float32), size)


def test_nothing_is_written_outside_the_label_map() -> None:
    from adaptseg_serve import tail_kernel

    logits = make_logits("noise", (19, 5, 6))
    rows, columns = tail.Axis(5, 33, True), tail.Axis(6, 41, True)
    buffer = np.full(33 * 41 + tail_kernel.LANES, 77, np.uint8)
    out = buffer[: 33 * 41].reshape(33, 41)
    tail_kernel.write_label_map(logits, rows.starts, rows.weights, columns.starts, columns.cells, columns.weights, out)
    assert (buffer[33 * 41 :] == 77).all()
    assert check(logits, (33, 41), True, out) == 0
    assert tail._SLACK >= tail_kernel.LANES - 1


def test_no_full_size_score_ever_exists() -> None:
    logits = make_logits("smooth", (19, 65, 129))
    tail.prepare()
    tracemalloc.start()
    try:
        label_map_from_logits(logits, (512, 1024))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.2 * 512 * 1024  # the label map itself, and little else; dense scores take 40 MB


# Without numba


@pytest.fixture
def without_numba(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(sys.modules, "adaptseg_serve.tail_kernel", None)
    monkeypatch.delattr("adaptseg_serve.tail_kernel", raising=False)
    tail._way.cache_clear()
    yield
    tail._way.cache_clear()


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_numpy_way_is_the_same(
    kind: Kind, align_corners: bool, without_numba: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        check(make_logits(kind, (7, 9, 13)), (70, 131), align_corners)
    assert "pip install numba" in caplog.text


def run_python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    return done.stdout + done.stderr


def test_numba_told_not_to_compile_means_the_numpy_way() -> None:
    code = "from adaptseg_serve import tail; tail.prepare(); print(tail._way() is tail._dense)"
    assert "True" in run_python(code, NUMBA_DISABLE_JIT="1")


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    """As in a read-only image without a home: every folder that numba tries is refused."""
    code = """
from numba.core import caching
def refuse(self): raise PermissionError("read-only")
caching._CacheLocator.ensure_cache_path = refuse
import logging; logging.basicConfig()
from adaptseg_serve import tail; tail.prepare(); print(tail._way() is not tail._dense)
"""
    found = run_python(code)
    assert "True" in found
    assert "NUMBA_CACHE_DIR" in found


def test_importing_the_tail_loads_no_numba() -> None:
    assert "False" in run_python("import adaptseg_serve.tail, sys; print('numba' in sys.modules)")
