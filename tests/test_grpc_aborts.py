"""A refused call keeps nothing of its request, however seldom the collector comes by."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import grpc
import pytest
from helpers.doors import PacedPredictor, grpc_door

from adaptseg_serve.grpc.observed import Observed
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2_grpc
from adaptseg_serve.later import Later

Serving = Callable[[Path], AbstractAsyncContextManager[grpc.aio.Channel]]
CALLS = 5
FILE = bytes(123_457)
"""Of a length that no other test's request has."""


class Refusing(segmentation_pb2_grpc.SegmentationServiceServicer):
    async def Segment(  # noqa: N802  # the name in the .proto file
        self, request: pb.SegmentRequest, context: Any
    ) -> pb.SegmentResponse:
        try:
            raise ValueError(len(request.image.encoded))
        except ValueError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
        raise AssertionError("abort raises")


@asynccontextmanager
async def _aborting(_: Path) -> AsyncIterator[grpc.aio.Channel]:
    """A handler of ours that aborts."""
    server = grpc.aio.server(interceptors=[Observed(Later())])
    segmentation_pb2_grpc.add_SegmentationServiceServicer_to_server(Refusing(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        # A server left running keeps the interpreter from exiting.
        await server.stop(None)


@asynccontextmanager
async def _whole(bundle: Path) -> AsyncIterator[grpc.aio.Channel]:
    """The service as it is: a decoder's thread finds that the file is no image."""
    async with grpc_door(bundle, PacedPredictor()) as door:
        yield door.channel


async def _remains(serving: Serving, bundle: Path) -> int:
    """How many requests of the server's are alive after CALLS refusals without a collection."""
    async with serving(bundle) as channel:
        stub = segmentation_pb2_grpc.SegmentationServiceStub(channel)
        for _ in range(CALLS):
            call = stub.Segment(pb.SegmentRequest(image=pb.Image(encoded=FILE)))
            assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT
            del call
        # The server's side of the last call may end after ours; what a cycle holds never goes by itself.
        for _ in range(100):
            if not (alive := _alive()):
                break
            await asyncio.sleep(0.05)
        return alive


def _alive() -> int:
    """Requests, and frames that hold one or its bytes."""
    # By type: isinstance would ask every live object for its __class__, and some of PyTorch's warn when asked.
    frames = [each for each in gc.get_objects() if type(each) is FrameType]
    held = [each for frame in frames for each in gc.get_referents(frame) if type(each) is bytes]
    return sum(len(FILE) <= len(each) < len(FILE) + 100 for each in held) + sum(
        type(each) is pb.SegmentRequest and len(each.image.encoded) == len(FILE) for each in gc.get_objects()
    )


@pytest.mark.parametrize("serving", [_aborting, _whole])
def test_a_refused_request_is_gone_without_the_collector(serving: Serving, tiny_bundle: Path) -> None:
    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(_remains(serving, tiny_bundle)) == 0
    finally:
        gc.enable()
