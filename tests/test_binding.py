"""onnxruntime's fixed buffers on the CPU, where they are the same code; and, on a GPU, recorded runs (`-m gpu`)."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from helpers.gpu import needs_cuda, needs_onnxruntimes_tensorrt
from helpers.tiny_bundle import write_tiny_bundle
from numpy.typing import NDArray

from adaptseg_export.writer import Record, write_bundle
from adaptseg_serve.bundle import Bundle, open_bundle
from adaptseg_serve.errors import ConfigError
from adaptseg_serve.runtimes import binding, cuda, onnxruntime, plan_cache, providers
from adaptseg_serve.runtimes.binding import BoundRun, BoundRuns
from adaptseg_serve.runtimes.graph import read_graph
from adaptseg_serve.runtimes.onnxruntime import OnnxRuntimePredictor
from adaptseg_serve.runtimes.wishes import EngineWishes

DATA = Path(__file__).parent / "data"
RANDOM = np.random.default_rng(0)


def frames(*shape: int) -> NDArray[np.uint8]:
    return RANDOM.integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny"))


@pytest.fixture(scope="module")
def session(bundle: Bundle) -> ort.InferenceSession:
    return ort.InferenceSession(read_graph(bundle), providers=[providers.CPU_PROVIDER])


@pytest.fixture
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(plan_cache.FOLDER_VARIABLE, str(tmp_path / "plans"))
    return tmp_path / "plans"


def names(file: str) -> set[str]:
    found: list[str] = json.loads((DATA / file).read_text())["names"]
    return set(found)


@pytest.mark.parametrize("output", ["label_map", "logits"])
def test_a_bound_run_says_what_a_plain_run_says(session: ort.InferenceSession, output: str) -> None:
    runs = BoundRuns(session, "cpu", graphs=True)
    for shape in ((2, 48, 64), (1, 48, 64), (2, 97, 131), (2, 48, 64)):
        images = frames(*shape)
        expected = session.run([output], {"image": images})[0]
        for _ in range(2):
            found = runs.run(output, images)
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)


def test_what_was_handed_out_stays(session: ort.InferenceSession) -> None:
    runs = BoundRuns(session, "cpu", graphs=False)
    first, second = frames(1, 48, 64), frames(1, 48, 64)
    kept = runs.run("logits", first)
    before = kept.copy()
    assert (runs.run("logits", second) != kept).any()
    np.testing.assert_array_equal(kept, before)


def test_a_run_writes_into_its_own_buffer_and_allocates_no_other(session: ort.InferenceSession) -> None:
    run = BoundRun(session, "logits", (1, 48, 64, 3), "cpu")
    run.run(frames(1, 48, 64))
    run._target.host[:] = np.nan
    assert np.isfinite(run.run(frames(1, 48, 64))).all()
    assert run._binding.get_outputs()[0].data_ptr() == run._target.address


def test_other_shapes_than_a_run_was_made_for_are_refused(session: ort.InferenceSession) -> None:
    with pytest.raises(ValueError, match="broadcast"):
        BoundRun(session, "logits", (2, 48, 64, 3), "cpu").run(frames(3, 48, 64))


def test_an_image_too_small_for_the_network_is_said(session: ort.InferenceSession) -> None:
    with pytest.raises(ConfigError, match=r"can't run the graph for images of \(1, 4, 4, 3\)"):
        BoundRun(session, "logits", (1, 4, 4, 3), "cpu")


def test_each_output_and_shape_has_a_graph_of_its_own(
    session: ort.InferenceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that shared a number would replay each other's recording."""
    monkeypatch.setattr(binding, "MAX_GRAPHS", 3)
    runs = BoundRuns(session, "cpu", graphs=True)
    for output, batch in (("logits", 1), ("label_map", 1), ("logits", 2), ("logits", 3), ("logits", 1)):
        runs.run(output, frames(batch, 48, 64))
    numbers = [run._options.get_run_config_entry(binding.GRAPH_ID) for run in runs._runs.values()]
    assert numbers == ["1", "2", "3", "-1"]


def test_a_run_is_recorded_before_it_is_asked_for_and_while_no_other_thread_allocates(
    session: ort.InferenceSession,
) -> None:
    locked: list[bool] = []

    class Watched:
        io_binding = session.io_binding

        def run_with_iobinding(self, *arguments: object) -> None:
            locked.append(cuda.recording.locked())
            session.run_with_iobinding(*arguments)

    images = frames(1, 48, 64)
    recorded = BoundRun(Watched(), "logits", images.shape, "cpu", 1)
    assert locked == [False, True]
    np.testing.assert_array_equal(recorded.run(images), session.run(["logits"], {"image": images})[0])
    assert locked == [False, True, False]
    BoundRun(Watched(), "logits", images.shape, "cpu").run(images)
    assert locked[3:] == [False, False]


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_options_are_those_of_the_gpu_wheel(bundle: Bundle, plans: Path, device: str) -> None:
    """An unknown option makes onnxruntime refuse the provider, and fall back to the CPU."""
    for name, options in providers.providers_for(device, bundle, "fp32"):
        known = names(f"onnxruntime_{'cuda' if name == providers.CUDA_PROVIDER else 'tensorrt'}_1.31_names.json")
        assert options
        assert set(options) <= known
        assert {value for value in options.values() if value.isidentifier()} <= known
        assert all(isinstance(value, str) for value in options.values())


def test_an_option_that_is_none_would_be_found() -> None:
    assert not names("onnxruntime_cuda_1.31_names.json") & {"cuda_graph", "cuda_mem_limit", "tf32"}
    assert not names("onnxruntime_tensorrt_1.31_names.json") & {"trt_profile_shapes", "trt_strongly_typed"}


def test_cuda_records_graphs_and_grows_by_what_it_needs(bundle: Bundle) -> None:
    ((name, options),) = providers.providers_for("cuda", bundle, "fp32")
    assert name == "CUDAExecutionProvider"
    assert (options[providers.CUDA_GRAPH], options["arena_extend_strategy"]) == ("1", "kSameAsRequested")
    assert providers.providers_for("cpu", bundle, "fp32") == [("CPUExecutionProvider", {})]


def test_tensorrt_profiles_cover_batches_of_one_size_and_engines_are_this_machines(bundle: Bundle, plans: Path) -> None:
    (_, options), (fallback, _) = providers.providers_for("tensorrt", bundle, "fp32")
    shapes = [options[f"trt_profile_{limit}_shapes"] for limit in ("min", "opt", "max")]
    assert shapes == ["image:1x48x64x3", "image:1x48x64x3", "image:8x48x64x3"]
    assert fallback == "CUDAExecutionProvider"
    folder = Path(options["trt_engine_cache_path"])
    assert folder.parent == plans
    assert folder.stat().st_mode & 0o777 == 0o700
    assert options["trt_fp16_enable"] == "0"
    assert options["trt_engine_hw_compatible"] == "0"


def test_the_provider_is_told_what_its_engines_shall_fit(bundle: Bundle, plans: Path) -> None:
    wishes = EngineWishes(max_batch=3, hardware_compatible=True)
    (_, options), _ = providers.providers_for("tensorrt", bundle, "fp32", wishes)
    assert options["trt_profile_max_shapes"] == "image:3x48x64x3"
    assert options["trt_engine_hw_compatible"] == "1"


def test_a_provider_that_will_not_record_is_asked_again_without(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The CPU refuses nothing, so a session that refuses is made: what is under test is only what is asked of it."""
    asked = []

    def refusing(data: bytes, options: object, providers: list[providers.Provider], enable_fallback: int) -> str:
        asked.append(providers)
        if any("enable_cuda_graph" in told for _, told in providers):
            raise RuntimeError("This session cannot use the graph capture feature as requested by the user")
        return "session"

    monkeypatch.setattr(ort, "InferenceSession", refusing)
    chain = providers.providers_for("cuda", bundle, "fp32")
    assert onnxruntime._start(b"", 1, chain) == "session"
    assert [sorted(set(chain[0][1]) - set(each[0][1])) for each in asked] == [[], ["enable_cuda_graph"]]
    assert "launched anew" in caplog.text


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("size", [(48, 64), (97, 131)])
@pytest.mark.parametrize("batch", [1, 3])
def test_cuda_says_what_the_cpu_says_and_a_replay_what_the_first_run_said(
    bundle: Bundle, session: ort.InferenceSession, size: tuple[int, int], batch: int
) -> None:
    on_gpu = OnnxRuntimePredictor(bundle, device="cuda")
    assert on_gpu._bound._graphs, "no CUDA graph: see the warning in the log"
    images = frames(batch, *size)
    for output in ("label_map", "logits"):
        (expected,) = session.run([output], {"image": images})
        first = on_gpu._fetch(output, images)
        on_gpu._fetch(output, frames(batch, *size))
        replayed = on_gpu._fetch(output, images)
        np.testing.assert_array_equal(replayed, first)
        if output == "logits":
            np.testing.assert_allclose(first, expected, atol=1e-3)
        else:
            assert np.mean(first == expected) > 0.999


@pytest.mark.gpu
@needs_cuda
def test_cuda_keeps_graphs_of_several_shapes_apart(bundle: Bundle, session: ort.InferenceSession) -> None:
    on_gpu = OnnxRuntimePredictor(bundle, device="cuda")
    shapes = [(1, 48, 64), (2, 48, 64), (1, 80, 96)]
    for shape in shapes * 3:
        images = frames(*shape)
        found = on_gpu.predict(images, [shape[1:]] * shape[0])
        assert np.mean(np.stack(found) == session.run(["label_map"], {"image": images})[0]) > 0.999


@pytest.fixture(scope="module")
def cast_first(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle with a graph as fp16 ones are: TensorRT takes bytes to and from floats only, and moves none."""
    model = onnx.load(str(bundle.model_path))
    nodes = {node.output[0]: node for node in model.graph.node}
    cast, moved, last = nodes["float"], nodes["nchw"], nodes["label_map"]
    cast.input[0], cast.output[0] = "image", "nhwc"
    moved.input[0], moved.output[0] = "nhwc", "float"
    nodes["hw"].input[0] = "float"
    to_float = onnx.helper.make_node("Cast", ["index"], ["floats"], to=onnx.TensorProto.FLOAT)
    last.input[0] = "floats"
    ordered = [cast, moved, *list(model.graph.node)[2:-1], to_float, last]
    ordered = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del model.graph.node[:]
    model.graph.node.extend(ordered)
    folder = tmp_path_factory.mktemp("cast_first")
    onnx.save(model, str(folder / "model.onnx"))
    write_bundle(folder / "b", folder / "model.onnx", Record("cast-first", bundle.preprocess, bundle.labels))
    return open_bundle(folder / "b")


def test_a_graph_for_tensorrt_says_the_same(cast_first: Bundle, session: ort.InferenceSession) -> None:
    images = frames(2, 48, 64)
    found = ort.InferenceSession(read_graph(cast_first), providers=[providers.CPU_PROVIDER])
    for one, other in zip(*(each.run(None, {"image": images}) for each in (found, session)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.gpu
@needs_onnxruntimes_tensorrt
def test_onnxruntimes_tensorrt_says_what_the_cpu_says_and_keeps_its_engine(
    cast_first: Bundle, session: ort.InferenceSession, plans: Path
) -> None:
    tensorrt = OnnxRuntimePredictor(cast_first, device="tensorrt")
    for batch in (1, 8):
        images = frames(batch, 48, 64)
        found = tensorrt.predict(images, [(48, 64)] * batch)
        assert np.mean(np.stack(found) == session.run(["label_map"], {"image": images})[0]) > 0.99
    assert list(plans.rglob("*.engine"))
