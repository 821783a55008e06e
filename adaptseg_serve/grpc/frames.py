"""One StreamSegment call: a camera's frames in, and for each exactly one answer.

A frame waits, runs, and is answered. LATEST_ONLY keeps one frame waiting (a newer one takes its place) and one
running, so that a label map is never older than one wait and one run. ALL keeps up to `window` running and one
waiting, and then stops reading: HTTP/2 flow control holds the client back.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import grpc

from adaptseg_serve.errors import FAILED, BadParameter, Busy, DeadlineExceeded, RequestError
from adaptseg_serve.grpc.messages import extras_message, label_map_message, segment, timings_message, train_ids
from adaptseg_serve.grpc.streams import until_drain
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.grpc.wire import Parted
from adaptseg_serve.segmentation import Segmentation
from adaptseg_serve.segmenter import Segmenter

NOTICES = 1024
"""Answers that may wait to be written before the stream is read no further."""

Response = Parted[pb.StreamSegmentResponse]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Frame:
    """A request of the stream, and when it came (time.monotonic() and time.time() seconds)."""

    parted: Parted[pb.StreamSegmentRequest]
    arrived: float = field(default_factory=time.monotonic)
    wall: float = field(default_factory=time.time)

    @property
    def request(self) -> pb.StreamSegmentRequest:
        """But for raw pixels."""
        return self.parted.message

    @property
    def latest_only(self) -> bool:
        return self.request.queue_policy != pb.StreamSegmentRequest.ALL

    def expiry(self) -> float | None:
        """When the frame reaches max_age, in time.monotonic() seconds. A capture_time ahead of us counts as now."""
        if not self.request.HasField("max_age"):
            return None
        max_age = _seconds(self.request.max_age)
        if max_age < 0:
            raise BadParameter(f"max_age is {max_age} s; it must not be negative. Leave it out for no limit.")
        captured = _seconds(self.request.capture_time) if self.request.HasField("capture_time") else self.wall
        return self.arrived + max_age - max(0.0, self.wall - captured)


class FrameStream:
    """Reads, segments and answers the frames of one call."""

    def __init__(self, segmenter: Segmenter, context: Any, deadline: float | None) -> None:
        self._segmenter, self._context, self._deadline = segmenter, context, deadline
        self._window = segmenter.settings.max_batch
        self._waiting: deque[Frame] = deque()
        self._reading = True
        self._changed = asyncio.Condition()
        self._answers: asyncio.Queue[Response | None] = asyncio.Queue(NOTICES)

    async def run(self, requests: AsyncIterator[Parted[pb.StreamSegmentRequest]]) -> None:
        """Until the client has sent its last frame and every frame has its answer, or the service drains.

        Raises RequestError for a message that is none, CancelledError where the client has gone.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write())
                worker = tasks.create_task(self._work(tasks))
                await self._read(requests)
                await worker
                await self._answers.put(None)
        except ExceptionGroup as failed:  # The first ended the others.
            error = failed.exceptions[0]
            if isinstance(error, grpc.aio.InternalError):  # An answer had nobody to go to; gRPC will say so later.
                raise asyncio.CancelledError from None
            raise error from None

    async def _read(self, requests: AsyncIterator[Parted[pb.StreamSegmentRequest]]) -> None:
        async with aclosing(until_drain(requests, self._segmenter)) as known:
            async for request in known:
                await self._admit(Frame(request))
        async with self._changed:
            self._reading = False
            self._changed.notify_all()

    async def _admit(self, frame: Frame) -> None:
        async with self._changed:
            superseded = [f for f in self._waiting if f.latest_only] if frame.latest_only else []
            for old in superseded:
                self._waiting.remove(old)
            if not frame.latest_only:
                await self._changed.wait_for(lambda: not self._waiting)
            self._waiting.append(frame)
            self._changed.notify_all()
        for old in superseded:
            self._segmenter.metrics.dropped("superseded")
            text = f"Frame {frame.request.frame_id} took its place."
            await self._answers.put(_dropped(old, pb.DroppedFrame.SUPERSEDED, text))

    async def _work(self, tasks: asyncio.TaskGroup) -> None:
        running: deque[asyncio.Task[None]] = deque()
        while await self._something_waits():
            limit = 1 if self._waiting[0].latest_only else self._window
            while len(running) >= limit:
                await running.popleft()
            frame = await self._take()  # Only now: it may have been superseded meanwhile.
            running.append(tasks.create_task(self._answer(frame, running[-1] if running else None)))
        await asyncio.gather(*running)

    async def _something_waits(self) -> bool:
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._waiting) or not self._reading)
            return bool(self._waiting)

    async def _take(self) -> Frame:
        async with self._changed:
            self._changed.notify_all()
            return self._waiting.popleft()

    async def _answer(self, frame: Frame, previous: "asyncio.Task[None] | None") -> None:
        """Answer `frame` once `previous` has its answer; done when the answer has left, however slow the client."""
        response = await self._segment(frame)
        if previous is not None:
            await previous
        await self._answers.put(response)
        await self._answers.join()

    async def _segment(self, frame: Frame) -> Response:
        metrics, request = self._segmenter.metrics, frame.request
        try:
            deadline = self._frame_deadline(frame)
            answer = await segment(self._segmenter, frame.parted, deadline)
            extras = await extras_message(self._segmenter, request.include, answer, deadline)
        except RequestError as error:
            metrics.request("grpc", "error", error.name)
            return _dropped(frame, _reason(error), str(error))
        except Exception:  # The other frames of the stream have done nothing wrong.
            log.exception("Frame %d of a stream failed", request.frame_id)
            metrics.request("grpc", "error", "internal")
            return _dropped(frame, pb.DroppedFrame.INTERNAL, FAILED)
        metrics.request("grpc", "ok")
        with metrics.timed("encode"):
            result = self._result(frame, answer, extras)
            return Parted(pb.StreamSegmentResponse(result=result), [train_ids(answer.label_map)])

    def _frame_deadline(self, frame: Frame) -> float | None:
        """The sooner of the frame's expiry and the call's deadline; DeadlineExceeded where the frame is too old now."""
        expiry = frame.expiry()
        if expiry is not None and expiry <= time.monotonic():
            self._segmenter.metrics.dropped("expired")
            raise DeadlineExceeded("The frame was older than its max_age when its turn came.")
        return min((d for d in (expiry, self._deadline) if d is not None), default=None)

    def _result(self, frame: Frame, answer: Segmentation, extras: pb.Extras | None) -> pb.FrameResult:
        result = pb.FrameResult(
            frame_id=frame.request.frame_id,
            label_map=label_map_message(answer.label_map),
            timings=timings_message(answer),
            model_version=answer.bundle.version,
            extras=extras,
        )
        if frame.request.HasField("capture_time"):
            result.capture_time.CopyFrom(frame.request.capture_time)
        return result

    async def _write(self) -> None:
        while (response := await self._answers.get()) is not None:
            await self._context.write(response)
            self._answers.task_done()


def _reason(error: RequestError) -> pb.DroppedFrame.Reason:
    match error:
        case DeadlineExceeded():
            return pb.DroppedFrame.EXPIRED
        case Busy():
            return pb.DroppedFrame.BUSY
    return pb.DroppedFrame.INVALID


def _dropped(frame: Frame, reason: pb.DroppedFrame.Reason, detail: str) -> Response:
    dropped = pb.DroppedFrame(frame_id=frame.request.frame_id, reason=reason, detail=detail)
    return Parted(pb.StreamSegmentResponse(dropped=dropped))


def _seconds(moment: Any) -> float:
    """A Timestamp's or a Duration's."""
    return float(moment.seconds) + float(moment.nanos) / 1e9
