"""The Open Inference Protocol over gRPC: what a client gets wrong is named, and said how to mend."""

import asyncio
import itertools
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from helpers.doors import Door
from helpers.infer_calls import FRAMES, element, frames_request, in_door, png, request
from helpers.tiny_bundle import write_tiny_bundle

from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.grpc.stubs import inference_pb2 as pb
from adaptseg_serve.oip_model import model_version

BAD, BIG = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED


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

        async def swapping(task: Callable[[], Any], *more: Any) -> Any:
            done = await codec(task, *more)
            segmenter.bundle = other
            return done

        assert await stub.ModelInfer(wanted).code() == grpc.StatusCode.OK
        segmenter.codec = swapping
        code: grpc.StatusCode = await stub.ModelInfer(wanted).code()
        segmenter.codec = codec
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


def test_bytes_that_are_no_message_are_the_clients_fault(tiny_bundle: Path) -> None:
    async def work(stub: Any, door: Door) -> grpc.StatusCode:
        call = door.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"\xff\xff\xff")
        return caught.value.code()

    assert in_door(tiny_bundle, work) == BAD


def test_numbers_that_wait_to_be_read_count_as_waiting(tiny_bundle: Path) -> None:
    wanted = frames_request(FRAMES[:1], raw_input_contents=[])
    wanted.inputs[0].contents.uint_contents.extend(FRAMES[:1].ravel().tolist())

    async def work(stub: Any, door: Door) -> None:
        held = threading.Event()
        blocked = [asyncio.create_task(door.segmenter.codec(lambda: held.wait(20))) for _ in range(2)]
        await asyncio.sleep(0)
        codes = [asyncio.create_task(stub.ModelInfer(wanted).code()) for _ in range(6)]
        refused = [await code for code in itertools.islice(asyncio.as_completed(codes), 4)]
        assert not any(each.done() for each in blocked), "refused at once, not when their turn came"
        held.set()
        await asyncio.gather(*blocked)
        assert refused == [BIG] * 4
        assert sorted(code.name for code in await asyncio.gather(*codes)) == ["OK"] * 2 + [BIG.name] * 4

    in_door(tiny_bundle, work, codec_threads=2, queue_depth=2)


def test_what_is_remembered_of_a_message_holds_for_no_other_way_to_send_it(tiny_bundle: Path) -> None:
    """Requests may differ only in what is not in the message: how many tensors came in binary, and of what length; and
    two servers of one process in how much they allow."""

    async def work(stub: Any, door: Door) -> list[grpc.StatusCode]:
        right = FRAMES[:2].tobytes()
        ways = [[right], [right], [right[:-1]], [right, right], [], [right]]
        return [await stub.ModelInfer(frames_request(FRAMES[:2], raw_input_contents=way)).code() for way in ways]

    good = grpc.StatusCode.OK
    assert in_door(tiny_bundle, work) == [good, good, BAD, BAD, BAD, good]
    assert in_door(tiny_bundle, work, max_batch=1) == [BAD] * 6
