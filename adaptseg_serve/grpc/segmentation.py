"""`adaptseg.v1.SegmentationService`: the project's own typed service."""

from collections.abc import AsyncIterator
from typing import Any

from adaptseg_serve.grpc.errors import answering, deadline_of
from adaptseg_serve.grpc.frames import FrameStream
from adaptseg_serve.grpc.messages import extras_message, label_map_message, segment, timings_message, train_ids
from adaptseg_serve.grpc.streams import Streams, check_drain
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.grpc.wire import Parted
from adaptseg_serve.labels import IGNORE_ID
from adaptseg_serve.segmenter import Segmenter


class SegmentationService:
    """The three calls of protos/adaptseg/v1/segmentation.proto. Images and label maps come and go `Parted` from their
    messages, see parting.py."""

    def __init__(self, segmenter: Segmenter, streams: Streams) -> None:
        self._segmenter, self._streams = segmenter, streams

    async def Segment(self, request: Parted[pb.SegmentRequest], context: Any) -> Parted[pb.SegmentResponse]:
        async with answering(context, self._segmenter):
            deadline = deadline_of(context)
            answer = await segment(self._segmenter, request, deadline)
            extras = await extras_message(self._segmenter, request.message.include, answer, deadline)
        with self._segmenter.metrics.timed("encode"):
            response = pb.SegmentResponse(
                label_map=label_map_message(answer.label_map),
                timings=timings_message(answer),
                model_version=answer.bundle.version,
                extras=extras,
            )
            return Parted(response, [train_ids(answer.label_map)])

    async def StreamSegment(self, requests: AsyncIterator[Parted[pb.StreamSegmentRequest]], context: Any) -> None:
        async with answering(context, self._segmenter, count=False):
            with self._streams.one():
                await FrameStream(self._segmenter, context, deadline_of(context)).run(requests)
            check_drain(self._segmenter)

    async def GetLabelInfo(self, request: pb.GetLabelInfoRequest, context: Any) -> pb.GetLabelInfoResponse:
        bundle = self._segmenter.bundle
        return pb.GetLabelInfoResponse(
            label_set=bundle.labels.name,
            classes=[
                pb.LabelClass(train_id=c.train_id, name=c.name, rgb=int.from_bytes(c.color), label_id=c.label_id)
                for c in bundle.labels.classes
            ],
            ignore_id=IGNORE_ID,
            model_name=bundle.name,
            model_version=bundle.version,
        )
