"""A refused call keeps nothing of its request, however seldom the collector comes by."""

import asyncio
import gc
from typing import Any

import grpc

from adaptseg_serve.grpc.observed import Observed
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2_grpc

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


async def _refused_calls() -> int:
    """How many requests of the server's are alive after CALLS refusals without a collection."""
    server = grpc.aio.server(interceptors=[Observed()])
    segmentation_pb2_grpc.add_SegmentationServiceServicer_to_server(Refusing(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
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
    finally:
        # A server left running keeps the interpreter from exiting.
        await server.stop(None)


def _alive() -> int:
    # By type: isinstance would ask every live object for its __class__, and some of PyTorch's warn when asked.
    return sum(type(each) is pb.SegmentRequest and len(each.image.encoded) == len(FILE) for each in gc.get_objects())


def test_a_refused_request_is_gone_without_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(_refused_calls()) == 0
    finally:
        gc.enable()
