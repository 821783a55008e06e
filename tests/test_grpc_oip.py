"""The Open Inference Protocol over gRPC, called in the server's own event loop."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from helpers.doors import Door, PacedPredictor, grpc_door, until
from helpers.tiny_bundle import write_tiny_bundle
from numpy.typing import NDArray

from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.grpc.errors import DETAILS_KEY, RETRY_INFO_URL
from adaptseg_serve.grpc.protos import generate
from adaptseg_serve.grpc.stubs import inference_pb2 as pb
from adaptseg_serve.grpc.stubs import inference_pb2_grpc
from adaptseg_serve.grpc.stubs.adaptseg.v1.error_details_pb2 import RetryInfo, Status
from adaptseg_serve.oip_model import model_version
from adaptseg_serve.predictor import load_predictor

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
BAD, BIG = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED


def request(data: bytes, shape: tuple[int, ...], datatype: str = "UINT8", **fields: Any) -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(name="image", datatype=datatype, shape=shape)
    return pb.ModelInferRequest(**{"model_name": "tiny", "inputs": [tensor], "raw_input_contents": [data], **fields})


def frames_request(frames: NDArray[np.uint8], **fields: Any) -> pb.ModelInferRequest:
    return request(frames.tobytes(), frames.shape, **fields)


def label_maps(response: pb.ModelInferResponse) -> NDArray[np.uint8]:
    return np.frombuffer(response.raw_output_contents[0], np.uint8).reshape(response.outputs[0].shape)


def png(image: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def element(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def in_door(bundle: Path, work: Callable[[Any, Door], Awaitable[Any]], *args: Any, **settings: Any) -> Any:
    async def main() -> Any:
        async with grpc_door(bundle, *args, **settings) as door:
            return await work(inference_pb2_grpc.GRPCInferenceServiceStub(door.channel), door)

    return asyncio.run(main())


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


def bad_requests() -> list[Any]:
    tensor = pb.ModelInferRequest.InferInputTensor
    shape, data = FRAMES[:1].shape, FRAMES[:1].tobytes()
    both = frames_request(FRAMES[:1])
    both.inputs[0].contents.uint_contents.append(1)
    large = pb.ModelInferRequest(model_name="tiny", inputs=[tensor(name="image", datatype="UINT8", shape=(1, 1, 1, 3))])
    large.inputs[0].contents.uint_contents.extend([1, 2, 256])
    huge = element(
        png(np.zeros((1, 1, 3), np.uint8)).replace(struct.pack(">II", 1, 1), struct.pack(">II", 13000, 13000))
    )
    mixed = element(png(FRAMES[0])) + element(png(FRAMES[1][:20]))
    cases = [
        ("no input", pb.ModelInferRequest(model_name="tiny"), BAD),
        ("unknown model", frames_request(FRAMES, model_name="other"), grpc.StatusCode.NOT_FOUND),
        ("long model name", frames_request(FRAMES, model_name="x" * 100_000), grpc.StatusCode.NOT_FOUND),
        ("unknown version", frames_request(FRAMES, model_version="7"), grpc.StatusCode.NOT_FOUND),
        (
            "input's name",
            frames_request(FRAMES, inputs=[tensor(name="img", datatype="UINT8", shape=FRAMES.shape)]),
            BAD,
        ),
        ("output's name", frames_request(FRAMES, outputs=[{"name": "logits"}]), BAD),
        ("two inputs", frames_request(FRAMES, inputs=[tensor(name="image")] * 2), BAD),
        ("datatype", request(data, shape, "FP32"), BAD),
        ("rank", request(data, shape[1:]), BAD),
        ("channels", request(data, (1, 48, 48, 4)), BAD),
        ("too short", request(data[:-1], shape), BAD),
        ("too long", request(data + b"x", shape), BAD),
        ("no image", request(b"", (0, 48, 64, 3)), BAD),
        ("negative length", request(data, (-1, 48, -64, 3)), BAD),
        ("overflowing lengths", request(data, (2**62, 2**62, 2**62, 3)), BAD),
        ("too many images", request(bytes(9 * 3), (9, 1, 1, 3)), BAD),
        ("too many pixels", request(element(huge[4:]), (1,), "BYTES"), BIG),
        ("no contents", frames_request(FRAMES, raw_input_contents=[]), BAD),
        ("two raw contents", frames_request(FRAMES, raw_input_contents=[b"", b""]), BAD),
        ("both contents", both, BAD),
        ("values above 255", large, BAD),
        ("BYTES cut in its length", request(b"\x01\x00", (1,), "BYTES"), BAD),
        ("BYTES cut in its data", request(b"\xff\xff\xff\x7fabc", (1,), "BYTES"), BAD),
        ("BYTES of another count", request(element(b"a"), (2,), "BYTES"), BAD),
        ("BYTES that is no image", request(element(b"hello"), (1,), "BYTES"), BAD),
        ("BYTES that is empty", request(element(b""), (1,), "BYTES"), BAD),
        ("BYTES without a shape", request(element(b"a"), (), "BYTES"), BAD),
        ("a cut PNG", request(element(png(FRAMES[0])[:60]), (1,), "BYTES"), BAD),
        ("two sizes", request(mixed, (2,), "BYTES"), BAD),
        ("negative timeout", frames_request(FRAMES, parameters={"timeout": pb.InferParameter(int64_param=-1)}), BAD),
    ]
    return [pytest.param(r, code, id=name) for name, r, code in cases]


@pytest.mark.parametrize(("wrong", "code"), bad_requests())
def test_what_a_client_gets_wrong_is_named_and_mended(
    tiny_bundle: Path, wrong: pb.ModelInferRequest, code: grpc.StatusCode
) -> None:
    async def work(stub: Any, door: Door) -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ModelInfer(wrong)
        return caught.value

    error = in_door(tiny_bundle, work)
    assert error.code() == code
    assert len(error.details()) > 20


def test_a_version_that_is_swapped_away_while_numbers_are_read_is_not_found(tiny_bundle: Path, tmp_path: Path) -> None:
    other = open_bundle(write_tiny_bundle(tmp_path / "other", seed=5))
    wanted = frames_request(FRAMES[:1], raw_input_contents=[])
    wanted.inputs[0].contents.uint_contents.extend(FRAMES[:1].ravel().tolist())
    wanted.model_version = model_version(open_bundle(tiny_bundle))

    async def work(stub: Any, door: Door) -> grpc.StatusCode:
        segmenter, codec = door.segmenter, door.segmenter.codec

        async def swapping(task: Callable[[], Any]) -> Any:
            done = await codec(task)
            segmenter.bundle = other
            return done

        assert await stub.ModelInfer(wanted).code() == grpc.StatusCode.OK
        segmenter.codec = swapping  # type: ignore[method-assign]
        code: grpc.StatusCode = await stub.ModelInfer(wanted).code()
        return code

    assert in_door(tiny_bundle, work) == grpc.StatusCode.NOT_FOUND


def test_no_more_elements_are_read_than_the_shape_says(tiny_bundle: Path) -> None:
    async def work(stub: Any, door: Door) -> str:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ModelInfer(request(bytes(4_000_000), (1,), "BYTES"))
        return str(caught.value.details())

    assert "more elements than the 1" in in_door(tiny_bundle, work)


def test_a_message_over_the_limit_is_refused(tiny_bundle: Path) -> None:
    async def work(stub: Any, door: Door) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ModelInfer(frames_request(FRAMES))
        assert caught.value.code() == BIG

    in_door(tiny_bundle, work, max_body_bytes=10_000)


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


def test_bytes_that_are_no_message_are_the_clients_fault(tiny_bundle: Path) -> None:
    async def work(stub: Any, door: Door) -> grpc.StatusCode:
        call = door.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"\xff\xff\xff")
        return caught.value.code()

    assert in_door(tiny_bundle, work) == BAD
