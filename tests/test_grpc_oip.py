"""The Open Inference Protocol over gRPC, called in the server's own event loop."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from helpers.doors import Door, PacedPredictor, until
from helpers.infer_calls import FRAMES, element, frames_request, in_door, label_maps, png, request
from numpy.typing import NDArray

from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.grpc.errors import DETAILS_KEY, RETRY_INFO_URL
from adaptseg_serve.grpc.protos import generate
from adaptseg_serve.grpc.stubs import inference_pb2 as pb
from adaptseg_serve.grpc.stubs.adaptseg.v1.error_details_pb2 import RetryInfo, Status
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.oip_model import model_version
from adaptseg_serve.predictor import Size, load_predictor

BAD, BIG = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED


def test_committed_stubs_are_what_the_protos_generate(tmp_path: Path) -> None:
    generate.generate(tmp_path / "stubs")
    fresh = {p.relative_to(tmp_path / "stubs"): p.read_text() for p in (tmp_path / "stubs").rglob("*.py*")}
    stored = [p for p in generate.STUBS.rglob("*.py*") if "__pycache__" not in p.parts]
    assert fresh == {p.relative_to(generate.STUBS): p.read_text() for p in stored}


def test_batch_is_the_predictors_label_maps(tiny_bundle: Path) -> None:
    async def work(stub: Any, door: Door) -> pb.ModelInferResponse:
        return await stub.ModelInfer(frames_request(FRAMES, id="a1"))

    response = in_door(tiny_bundle, work)
    expected = load_predictor(open_bundle(tiny_bundle)).predict(FRAMES, [(48, 64)] * 3)
    assert (response.id, response.model_name, response.outputs[0].datatype) == ("a1", "tiny", "UINT8")
    np.testing.assert_array_equal(label_maps(response), np.stack(expected))


def test_every_way_to_send_an_image_gives_the_same_label_map(tiny_bundle: Path) -> None:
    file = png(FRAMES[0])
    tensor = pb.ModelInferRequest.InferInputTensor
    uint8 = tensor(name="image", datatype="UINT8", shape=(1, 48, 64, 3))
    uint8.contents.uint_contents.extend(FRAMES[0].ravel().tolist())
    encoded = tensor(name="image", datatype="BYTES", shape=(1, 1))
    encoded.contents.bytes_contents.append(file)
    requests = [
        frames_request(FRAMES[:1]),
        frames_request(FRAMES[:1], model_name="segmenter"),
        request(element(file), (1,), "BYTES"),
        pb.ModelInferRequest(model_name="tiny", inputs=[uint8]),
        pb.ModelInferRequest(model_name="tiny", inputs=[encoded]),
    ]

    async def work(stub: Any, door: Door) -> list[pb.ModelInferResponse]:
        return [await stub.ModelInfer(r) for r in requests]

    answers = [label_maps(r) for r in in_door(tiny_bundle, work)]
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])


def test_images_of_another_size_get_label_maps_of_their_size(tiny_bundle: Path) -> None:
    frames = np.zeros((2, 30, 50, 3), np.uint8)

    async def work(stub: Any, door: Door) -> pb.ModelInferResponse:
        return await stub.ModelInfer(frames_request(frames))

    assert list(in_door(tiny_bundle, work).outputs[0].shape) == [2, 30, 50]


def test_metadata_readiness_and_configuration(tiny_bundle: Path) -> None:
    async def work(stub: Any, door: Door) -> None:
        version = model_version(door.segmenter.bundle)
        assert (await stub.ServerLive(pb.ServerLiveRequest())).live
        assert (await stub.ServerReady(pb.ServerReadyRequest())).ready
        assert (await stub.ModelReady(pb.ModelReadyRequest(name="tiny", version=version))).ready
        assert not (await stub.ModelReady(pb.ModelReadyRequest(name="tiny", version="7"))).ready, "no error, as Triton"
        assert not (await stub.ModelReady(pb.ModelReadyRequest(name="other"))).ready
        metadata = await stub.ModelMetadata(pb.ModelMetadataRequest(name="segmenter"))
        assert (metadata.name, list(metadata.versions)) == ("tiny", [version])
        assert list(metadata.inputs[0].shape) == [-1, -1, -1, 3]
        config = (await stub.ModelConfig(pb.ModelConfigRequest(name="tiny"))).config
        assert (config.max_batch_size, list(config.input[0].dims)) == (8, [-1, -1, 3])
        await stub.ModelInfer(frames_request(FRAMES))
        statistics = (await stub.ModelStatistics(pb.ModelStatisticsRequest())).model_stats[0]
        assert statistics.inference_count == 3
        assert statistics.inference_stats.success.count == 1
        assert 1 <= statistics.execution_count <= 3
        await stub.ModelInfer(frames_request(FRAMES[:1]))
        later = (await stub.ModelStatistics(pb.ModelStatisticsRequest())).model_stats[0]
        assert later.execution_count == statistics.execution_count + 1

    in_door(tiny_bundle, work)


def test_a_full_queue_says_when_to_come_back(tiny_bundle: Path) -> None:
    predictor = PacedPredictor()

    async def work(stub: Any, door: Door) -> None:
        predictor.gate.clear()
        calls = [asyncio.create_task(stub.ModelInfer(frames_request(FRAMES[:1])).code()) for _ in range(6)]
        await until(lambda: any(c.done() for c in calls))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ModelInfer(frames_request(FRAMES[:1]))
        predictor.gate.set()
        codes = await asyncio.gather(*calls)
        assert set(codes) == {grpc.StatusCode.OK, BIG}
        assert caught.value.code() == BIG
        details = Status.FromString(dict(caught.value.trailing_metadata())[DETAILS_KEY])
        retry = RetryInfo.FromString(details.details[0].value)
        assert details.details[0].type_url == RETRY_INFO_URL
        assert retry.retry_delay.seconds >= 1

    in_door(tiny_bundle, work, predictor, max_batch=1, queue_depth=2)


def test_a_request_batches_its_images(tiny_bundle: Path) -> None:
    predictor = PacedPredictor()
    frames = np.arange(8, dtype=np.uint8).reshape(8, 1, 1, 1) * np.ones((1, 48, 64, 3), np.uint8)

    async def work(stub: Any, door: Door) -> NDArray[np.uint8]:
        return label_maps(await stub.ModelInfer(frames_request(frames)))

    answer = in_door(tiny_bundle, work, predictor, max_delay=0.2)
    assert answer[:, 0, 0].tolist() == list(range(8))
    assert len(predictor.batches) <= 2


def test_abandoned_work_never_runs(tiny_bundle: Path) -> None:
    predictor = PacedPredictor()

    async def work(stub: Any, door: Door) -> None:
        predictor.gate.clear()
        first = asyncio.create_task(stub.ModelInfer(frames_request(FRAMES[:1])).code())
        await until(lambda: bool(predictor.batches))
        late = [stub.ModelInfer(frames_request(FRAMES[:1]), timeout=0.3) for _ in range(5)]
        gone = stub.ModelInfer(frames_request(FRAMES[:1]))
        codes = await asyncio.gather(*(call.code() for call in late))
        gone.cancel()
        await asyncio.sleep(0.1)
        predictor.gate.set()
        assert await first == grpc.StatusCode.OK
        assert set(codes) == {grpc.StatusCode.DEADLINE_EXCEEDED}
        await asyncio.sleep(0.2)

    in_door(tiny_bundle, work, predictor)
    assert predictor.batches == [1]


def test_the_timeout_parameter_is_a_deadline(tiny_bundle: Path) -> None:
    predictor = PacedPredictor(0.5)

    async def work(stub: Any, door: Door) -> grpc.StatusCode:
        call = stub.ModelInfer(
            frames_request(FRAMES[:1], parameters={"timeout": pb.InferParameter(uint64_param=100_000)})
        )
        return await call.code()

    assert in_door(tiny_bundle, work, predictor) == grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_stream_answers_in_order_and_outlives_a_bad_request(tiny_bundle: Path) -> None:
    requests = [frames_request(FRAMES[:1], id=str(i)) for i in range(20)]
    requests[5] = request(b"", (1, 2, 2, 3), id="5")

    async def work(stub: Any, door: Door) -> list[pb.ModelStreamInferResponse]:
        return [answer async for answer in stub.ModelStreamInfer(iter(requests))]

    answers = in_door(tiny_bundle, work)
    assert [a.infer_response.id for a in answers] == [str(i) for i in range(20)]
    assert [a.infer_response.id for a in answers if a.error_message] == ["5"]


def test_a_request_that_fails_in_the_server_ends_no_stream(tiny_bundle: Path) -> None:
    class Fails(PacedPredictor):
        def predict(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[LabelMap]:
            if self.batches and not images.any((1, 2, 3)).all():
                raise ValueError("no kernel for this one")
            return super().predict(images, sizes)

    requests = [frames_request(FRAMES[:1], id=str(i)) for i in range(5)]
    requests[2] = frames_request(np.zeros_like(FRAMES[:1]), id="2")

    async def work(stub: Any, door: Door) -> list[pb.ModelStreamInferResponse]:
        await stub.ModelInfer(requests[0])
        return [answer async for answer in stub.ModelStreamInfer(iter(requests))]

    answers = in_door(tiny_bundle, work, Fails())
    assert [a.infer_response.id for a in answers] == list("01234")
    assert [a.error_message for a in answers if a.error_message] == ["The server failed to answer; its log says why."]
