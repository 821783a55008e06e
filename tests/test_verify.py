"""adaptseg-export --verify and adaptseg-bench on a tiny bundle, and the figures that they stand on."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from helpers.tiny_bundle import write_tiny_bundle
from numpy.typing import NDArray

from adaptseg_export.agreement import SURE, Agreement, Comparison, compare_batch
from adaptseg_export.cli import main
from adaptseg_export.verify import RUNTIMES, fingerprint, load_those_here, parity_record, verify
from adaptseg_export.writer import Record, write_bundle
from adaptseg_serve.bundle import MANIFEST, MODEL, PARITY, Bundle, open_bundle
from adaptseg_serve.bundle_files import file_record
from adaptseg_serve.errors import BundleError
from adaptseg_serve.labels import CITYSCAPES
from adaptseg_serve.predictor import Scored, Size
from adaptseg_serve.runtimes.names import Runtime
from adaptseg_serve.tail import label_map_from_logits

ROOT = Path(__file__).parents[1]
SIZE = (48, 64)


def batches() -> list[tuple[str, NDArray[np.uint8]]]:
    return [("noise", np.random.default_rng(3).integers(0, 256, (2, *SIZE, 3), dtype=np.uint8))]


def with_parity(folder: Path, tiny: Path, agreements: list[Agreement], model: Path | None = None) -> Bundle:
    """The tiny bundle again, with a parity.json."""
    bundle = open_bundle(tiny)
    record = Record("recorded", bundle.preprocess, CITYSCAPES, parity_file=parity_record(batches(), agreements))
    write_bundle(folder, model or bundle.model_path, record)
    return open_bundle(folder)


def own_agreement(bundle: Bundle) -> Agreement:
    predictors = load_those_here(bundle, lambda line: None, threads=1)
    return verify(bundle, predictors, batches())[0].agreement


def test_what_was_recorded_verifies_again(tmp_path: Path, tiny_bundle: Path) -> None:
    recorded = with_parity(tmp_path / "b", tiny_bundle, [own_agreement(open_bundle(tiny_bundle))])
    assert (recorded.path / PARITY).is_file()
    assert recorded.manifest["files"][PARITY]["bytes"] == (recorded.path / PARITY).stat().st_size
    checks = verify(recorded, load_those_here(recorded, lambda line: None, threads=1), batches())
    assert checks[0].agreement.runtime == "onnxruntime-cpu"
    assert not any(check.fault for check in checks if not check.agreement.runtime.endswith("bf16"))


def test_only_what_is_asked_for_is_loaded(tiny_bundle: Path) -> None:
    """An engine that nobody asked for takes minutes."""
    said: list[str] = []
    assert list(load_those_here(open_bundle(tiny_bundle), said.append, 1, only=())) == ["onnxruntime-cpu"]
    assert not said


def test_every_runtime_that_can_serve_can_be_verified() -> None:
    assert set(RUNTIMES) == set(get_args(Runtime)) - {"auto"}


def test_a_graph_that_says_other_things_than_the_record_fails(tmp_path: Path, tiny_bundle: Path) -> None:
    agreement = own_agreement(open_bundle(tiny_bundle))
    other = write_tiny_bundle(tmp_path / "other", SIZE, seed=5)
    swapped = with_parity(tmp_path / "b", tiny_bundle, [agreement], model=other / MODEL)
    checks = verify(swapped, load_those_here(swapped, lambda line: None, threads=1), batches())
    assert "not what they were at export" in checks[0].fault


def test_frames_that_were_drawn_otherwise_are_not_held_against_it(tmp_path: Path, tiny_bundle: Path) -> None:
    agreement = own_agreement(open_bundle(tiny_bundle))
    other = write_tiny_bundle(tmp_path / "other", SIZE, seed=5)
    swapped = with_parity(tmp_path / "b", tiny_bundle, [agreement], model=other / MODEL)
    name, images = batches()[0]
    changed = [(name, images ^ 1)]
    assert not verify(swapped, load_those_here(swapped, lambda line: None, threads=1), changed)[0].fault
    assert fingerprint(images) != fingerprint(images ^ 1)


@pytest.mark.parametrize("damage", ["[]", '{"frames": []}', '{"artifacts": {"model.onnx": {"comparisons": [{}]}}}'])
def test_a_damaged_parity_file_is_refused(tmp_path: Path, tiny_bundle: Path, damage: str) -> None:
    bundle = with_parity(tmp_path / "b", tiny_bundle, [own_agreement(open_bundle(tiny_bundle))])
    path = bundle.path / PARITY
    path.write_text(damage)
    with pytest.raises(BundleError, match=r"parity\.json"):
        open_bundle(bundle.path)
    with pytest.raises(BundleError, match="changed after the bundle was opened"):
        bundle.parity()
    files = {**bundle.manifest["files"], PARITY: file_record(path)}
    with pytest.raises(BundleError, match=r"parity\.json is not"):
        dataclasses.replace(bundle, manifest={**bundle.manifest, "files": files}).parity()


def test_the_command_verifies_without_torch_and_says_what_is_not_here(tiny_bundle: Path) -> None:
    code = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "onnx"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from adaptseg_export.cli import main
code = main(["--verify", {str(tiny_bundle)!r}, "--threads", "1"])
print("code", code, [m for m in sys.modules if m == "adaptseg_export.export"])
"""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in (".", "training", "export")),
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "onnxruntime-cpu" in done.stdout
    assert "code 0 []" in done.stdout
    assert "onnxruntime-cuda: not here" in done.stderr


def test_verifying_what_is_no_bundle_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--verify", str(tmp_path)]) == 1
    assert "adaptseg-export: " in capsys.readouterr().err


def test_the_benchmark_ends_with_json_of_every_runtime_and_shape(
    tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        str(tiny_bundle),
        "--runtimes",
        "onnxruntime-cpu",
        "--batches",
        "1",
        "2",
        "--rounds",
        "3",
        "--threads",
        "1",
    ]
    assert main(["--benchmark", *words]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(row["runtime"], row["shape"]) for row in report["rows"]] == [
        ("onnxruntime-cpu", [1, *SIZE]),
        ("onnxruntime-cpu", [2, *SIZE]),
    ]
    for row in report["rows"]:
        assert row["agreement"] == row["sure_agreement"] == 1.0
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["peak_mb"] > 1


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--rounds 0", "--rounds is 0; it must be 1 or more"),
        ("--batches 1 0", "--batches 1 0: each must be 1 or more"),
        ("--sizes 0 0", "--sizes is 0 0; height and width must be 32 or more"),
        ("--runtimes onnxruntime-cpux", "no runtime 'onnxruntime-cpux'; there are onnxruntime-cpu, "),
        ("--runtimes onnxruntime-cpu-int8", "--runtimes onnxruntime-cpu-int8: not on this machine, or without a graph"),
    ],
)
def test_a_benchmark_of_nothing_is_refused(
    tiny_bundle: Path, capsys: pytest.CaptureFixture[str], flags: str, says: str
) -> None:
    assert main(["--benchmark", str(tiny_bundle), *flags.split()]) == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


# Agreement


def outputs(seed: int, spread: float = 5.0) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    logits = (spread * np.random.default_rng(seed).normal(size=(2, 5, 9, 11))).astype(np.float32)
    return np.stack([label_map_from_logits(one, (65, 81)) for one in logits]), logits


def test_figures_against_torch() -> None:
    (expected, expected_logits), (found, logits) = outputs(0), outputs(1)
    comparison = compare_batch("x", expected, expected_logits, found, logits)
    planes = torch.nn.functional.interpolate(
        torch.from_numpy(expected_logits).double(), (65, 81), mode="bilinear", align_corners=True
    )
    sure = (planes.softmax(1).max(1).values >= SURE).numpy()
    assert comparison.disagreeing == (expected != found).sum()
    assert abs(comparison.sure - sure.sum()) <= 2  # at the threshold float32 may fall to the other side
    assert abs(comparison.sure_disagreeing - (sure & (expected != found)).sum()) <= 2
    assert comparison.max_logit_difference == pytest.approx(np.abs(expected_logits - logits).max())
    assert comparison.label_counts == tuple(np.bincount(found.ravel(), minlength=5))


def test_ties_are_those_whose_scores_are_alike() -> None:
    expected, logits = outputs(0)
    twice = np.concatenate([logits, logits], 1)  # class k + 5 is class k again: every pixel is a tie
    comparison = compare_batch("x", expected, twice, expected + 5, twice)
    assert comparison.disagreeing == comparison.ties == expected.size
    strangers = compare_batch("x", expected, logits, (expected + 1) % 5, logits)
    assert strangers.ties < 0.001 * expected.size


def test_shares_of_no_sure_pixel_are_full() -> None:
    none_sure = Agreement("g", "r", "a", (Comparison("x", (1, 10, 10), 5, 5, 0.1),))
    assert (none_sure.sure, none_sure.pixels, none_sure.only_ties) == (1.0, 0.95, True)
    assert not dataclasses.replace(none_sure, comparisons=(Comparison("x", (1, 10, 10), 5, 4, 0.1),)).only_ties


def test_old_bundles_without_parity_json_still_open_and_verify(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    assert bundle.parity() == {}
    assert PARITY not in json.loads((tiny_bundle / MANIFEST).read_text())["files"]


def test_tensorrt_is_asked_at_the_bundles_size_only(tiny_bundle: Path) -> None:
    """Its engines are built for that size: another one ended the whole command."""
    bundle = open_bundle(tiny_bundle)
    reference = load_those_here(bundle, print)["onnxruntime-cpu"]

    class Engine:
        runtime = "tensorrt"

        def predict_scored(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[Scored]:
            assert images.shape[1:3] == bundle.preprocess.size
            return reference.predict_scored(images, sizes)

        predict = reference.predict

    height, width = bundle.preprocess.size
    batches = [(str(shape), np.zeros((1, *shape, 3), np.uint8)) for shape in ((65, 129), (height, width))]
    checks = verify(bundle, {"onnxruntime-cpu": reference, "tensorrt": Engine()}, batches)
    assert [len(check.agreement.comparisons) for check in checks] == [2, 1]
    assert not any(check.fault for check in checks)
