"""Messages of adaptseg.v1.SegmentationService, without the sending: the same for both clients."""

from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np

from adaptseg_serve import errors
from adaptseg_serve.client.answers import (
    Answer,
    Dropped,
    Extra,
    Picture,
    ServiceError,
    WantedSize,
    check_picture,
    to_label_map,
    to_map,
)
from adaptseg_serve.errors import Busy, RequestError
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.grpc.stubs.adaptseg.v1.error_details_pb2 import RetryInfo, Status

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
"""A label map may be larger than the 4 MiB that gRPC allows by default."""

_ERRORS: dict[grpc.StatusCode, type[RequestError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.BadParameter,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.TooLarge,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
}


def segment_request(image: Picture, size: WantedSize, include: Sequence[Extra]) -> pb.SegmentRequest:
    wanted = pb.Include(confidence="confidence" in include, entropy="entropy" in include)
    return pb.SegmentRequest(image=_image(image), size=_size(size), include=wanted)


def frame_request(
    frame_id: int, image: Picture, size: WantedSize, latest_only: bool, max_age: float | None
) -> pb.StreamSegmentRequest:
    """max_age: seconds; the frame is taken to be captured now."""
    kind = pb.StreamSegmentRequest
    request = kind(
        frame_id=frame_id,
        image=_image(image),
        size=_size(size),
        queue_policy=kind.LATEST_ONLY if latest_only else kind.ALL,
    )
    request.capture_time.GetCurrentTime()
    if max_age is not None:
        request.max_age.FromNanoseconds(round(max_age * 1e9))
    return request


def read_answer(response: pb.SegmentResponse | pb.FrameResult) -> Answer:
    label_map, timings, extras = response.label_map, response.timings, response.extras
    sides = label_map.height, label_map.width
    return Answer(
        to_label_map(label_map.train_ids, *sides),
        response.model_version,
        {"decode": timings.decode, "queue": timings.queue, "infer": timings.infer},
        response.frame_id if isinstance(response, pb.FrameResult) else 0,
        to_map(extras.confidence, *sides) if extras.confidence else None,
        to_map(extras.entropy, *sides) if extras.entropy else None,
    )


def read_frame(response: pb.StreamSegmentResponse) -> Answer | Dropped:
    if response.HasField("result"):
        return read_answer(response.result)
    dropped = response.dropped
    return Dropped(dropped.frame_id, pb.DroppedFrame.Reason.Name(dropped.reason), dropped.detail)


def error_of(call: Any) -> RequestError | ServiceError:
    """The error that a failed call (a grpc.RpcError) stands for."""
    code, detail = call.code(), call.details() or ""
    retry_after = _retry_after(call.trailing_metadata() or ())
    if retry_after is not None or code == grpc.StatusCode.UNAVAILABLE:
        return Busy(detail, retry_after or 0.0)
    if kind := _ERRORS.get(code):
        return kind(detail)
    return ServiceError(f"The call ended with {code.name}: {detail}")


def _retry_after(trailers: Any) -> float | None:
    """Seconds of google.rpc.RetryInfo, where the service sent one."""
    for key, value in trailers:
        if key == "grpc-status-details-bin":
            for detail in Status.FromString(value).details:
                if detail.type_url.endswith("/google.rpc.RetryInfo"):
                    delay = RetryInfo.FromString(detail.value).retry_delay
                    return float(delay.seconds) + delay.nanos / 1e9
    return None


def _image(image: Picture) -> pb.Image:
    check_picture(image)
    if isinstance(image, bytes):
        return pb.Image(encoded=image)
    height, width, _ = image.shape
    return pb.Image(raw=pb.RawImage(height=height, width=width, rgb=np.ascontiguousarray(image).tobytes()))


def _size(size: WantedSize) -> pb.LabelMapSize:
    return pb.MODEL if size == "model" else pb.INPUT
