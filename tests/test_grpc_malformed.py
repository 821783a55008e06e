"""What is no message, or is one with millions of fields, is the client's mistake on every call: INVALID_ARGUMENT."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from helpers.doors import Door, until
from helpers.infer_calls import FRAMES, frames_request
from helpers.segmentation_calls import frame, in_door

from adaptseg_serve.grpc.frames import FrameStream
from adaptseg_serve.grpc.stubs import inference_pb2 as oip
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.grpc.wire import Parted

NONSENSE = b"\xff\xff\xff"
STREAMS = {
    "/adaptseg.v1.SegmentationService/StreamSegment": [frame(1).SerializeToString()],
    "/inference.GRPCInferenceService/ModelStreamInfer": [frames_request(FRAMES[:1]).SerializeToString()],
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": [b":\x00"],  # list_services
}


@pytest.mark.parametrize("call", STREAMS)
def test_nonsense_in_a_stream_is_the_clients_mistake_and_what_came_before_is_answered(
    tiny_bundle: Path, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    async def work(_: Any, door: Door) -> None:
        answered = asyncio.Event()

        async def requests() -> AsyncIterator[bytes]:
            for good in STREAMS[call]:
                yield good
            await answered.wait()
            yield NONSENSE

        answers = []

        async def read() -> None:
            async for answer in door.channel.stream_stream(call)(requests()):
                answers.append(answer)
                answered.set()

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read()
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "not what the .proto file says" in str(caught.value.details())
        assert len(answers) == len(STREAMS[call])

    in_door(tiny_bundle, work)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_nonsense_for_healths_watch_is_too(tiny_bundle: Path) -> None:
    async def work(_: Any, door: Door) -> None:
        watch = door.channel.unary_stream("/grpc.health.v1.Health/Watch")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watch(NONSENSE).read()
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        call = watch(b"")
        first = health_pb2.HealthCheckResponse.FromString(await call.read())
        assert first.status == health_pb2.HealthCheckResponse.SERVING
        call.cancel()

    in_door(tiny_bundle, work)


def test_millions_of_tensors_are_refused_before_one_is_made(tiny_bundle: Path) -> None:
    """Two bytes each here, a hundred and a microsecond each once protobuf and Python have them."""
    name = oip.ModelInferRequest(model_name="segmenter").SerializeToString()
    inputs = bytes([oip.ModelInferRequest.DESCRIPTOR.fields_by_name["inputs"].number << 3 | 2, 0])
    shape = oip.ModelInferRequest(model_name="segmenter", inputs=[{"name": "image", "datatype": "UINT8"}])
    shape.inputs[0].shape.extend([1] * 1_000_000)
    numbers = frames_request(FRAMES[:1], raw_input_contents=[])
    numbers.inputs[0].contents.uint_contents.extend([7] * 2_000_001)

    parameters = oip.ModelInferRequest(model_name="segmenter", inputs=[{"name": "image"}])
    for number in range(100_000):
        parameters.inputs[0].parameters[str(number)].int64_param = number

    async def work(_: Any, door: Door) -> list[tuple[grpc.StatusCode, str]]:
        infer = door.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        found = []
        for data in (
            parameters.SerializeToString(),
            name + inputs * 1_000_000,
            shape.SerializeToString(),
            numbers.SerializeToString(),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await infer(data)
            found.append((caught.value.code(), str(caught.value.details())))
        return found

    inside, many, long, one_by_one = in_door(tiny_bundle, work)
    assert inside == many == (grpc.StatusCode.INVALID_ARGUMENT, "The message is not what the .proto file says.")
    assert long[0] == grpc.StatusCode.INVALID_ARGUMENT
    assert "has shape (1, 1, 1, 1, 1)" in long[1]
    assert one_by_one[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "in binary" in one_by_one[1]


def test_an_answer_that_nobody_takes_is_a_client_that_has_gone(tiny_bundle: Path) -> None:
    """gRPC's core fails the write before it tells us that the call is over."""

    class Gone:
        async def write(self, response: Any) -> None:
            raise grpc.aio.InternalError("Failed to send the message.")

    async def work(_: Any, door: Door) -> None:
        async def camera() -> AsyncIterator[Parted[pb.StreamSegmentRequest]]:
            request = frame(1)
            pixels = request.image.raw.rgb
            request.image.raw.ClearField("rgb")
            yield Parted(request, [pixels])
            await asyncio.sleep(60)

        stream = asyncio.ensure_future(FrameStream(door.segmenter, Gone(), None).run(camera()))
        await until(stream.done)
        assert stream.cancelled()

    in_door(tiny_bundle, work)
