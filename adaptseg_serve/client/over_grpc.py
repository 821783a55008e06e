"""Messages of adaptseg.v1.SegmentationService, without the sending: the same for both clients."""

from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np

from adaptseg_serve import errors
from adaptseg_serve.client.answers import (
    NAMED,
    Answer,
    Dropped,
    Extra,
    Picture,
    ServiceError,
    WantedSize,
    check_picture,
    to_label_map,
    to_label_set,
    to_map,
)
from adaptseg_serve.errors import Busy, RequestError
from adaptseg_serve.grpc.large_fields import (
    FRAME_REQUEST,
    FRAME_RESPONSE,
    SEGMENT,
    SEGMENT_REQUEST,
    SEGMENT_RESPONSE,
    STREAM_SEGMENT,
)
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.grpc.stubs.adaptseg.v1.error_details_pb2 import RetryInfo, Status
from adaptseg_serve.grpc.stubs.adaptseg.v1.segmentation_pb2_grpc import SegmentationServiceStub
from adaptseg_serve.grpc.wire import Parted, Raw
from adaptseg_serve.labels import LabelClass, LabelSet

OPTIONS: list[tuple[str, int | str]] = [
    # A label map may be larger than the 4 MiB that gRPC allows by default.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A service that vanished without a word is noticed in half a minute; it lets clients ping every ten seconds.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Behind a name with several addresses (a headless service) calls are spread over all of them.
    ("grpc.lb_policy_name", "round_robin"),
]

_ERRORS: dict[grpc.StatusCode, type[RequestError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.BadParameter,
    grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.TooLarge,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
}


class Calls:
    """The service's calls. `channel` is either kind's: its calls are of that kind, too."""

    def __init__(self, channel: grpc.Channel | grpc.aio.Channel) -> None:
        self.segment: Any = channel.unary_unary(SEGMENT, SEGMENT_REQUEST.write, SEGMENT_RESPONSE.read)
        self.stream: Any = channel.stream_stream(STREAM_SEGMENT, FRAME_REQUEST.write, FRAME_RESPONSE.read)
        self.labels: Any = SegmentationServiceStub(channel).GetLabelInfo


def segment_request(image: Picture, size: WantedSize, include: Sequence[Extra]) -> Parted[pb.SegmentRequest]:
    wanted = pb.Include(**dict.fromkeys(include, True))
    return Parted(pb.SegmentRequest(image=_image(image), size=_size(size), include=wanted), _pixels(image))


def frame_request(
    frame_id: int, image: Picture, size: WantedSize, latest_only: bool, max_age: float | None
) -> Parted[pb.StreamSegmentRequest]:
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
    return Parted(request, _pixels(image))


def read_answer(response: Parted[pb.SegmentResponse]) -> Answer:
    return _answer(response.message, response.value)


def read_frame(response: Parted[pb.StreamSegmentResponse]) -> Answer | Dropped:
    if response.message.HasField("result"):
        return _answer(response.message.result, response.value)
    dropped = response.message.dropped
    return Dropped(dropped.frame_id, pb.DroppedFrame.Reason.Name(dropped.reason), dropped.detail)


def _answer(response: pb.SegmentResponse | pb.FrameResult, train_ids: Raw) -> Answer:
    timings, extras = response.timings, response.extras
    sides = response.label_map.height, response.label_map.width
    return Answer(
        to_label_map(train_ids, *sides),
        response.model_version,
        {"decode": timings.decode, "queue": timings.queue, "infer": timings.infer},
        response.frame_id if isinstance(response, pb.FrameResult) else 0,
        to_map(extras.confidence, *sides) if extras.confidence else None,
        to_map(extras.entropy, *sides) if extras.entropy else None,
        np.array(extras.shares, np.float64) if extras.shares else None,
    )


def read_labels(response: pb.GetLabelInfoResponse) -> LabelSet:
    return to_label_set(response.label_set, map(_label_class, response.classes))


def _label_class(found: pb.LabelClass) -> LabelClass:
    red, green, blue = found.rgb.to_bytes(3)
    return LabelClass(found.train_id, found.name, (red, green, blue), found.label_id)


def error_of(call: Any) -> RequestError | ServiceError:
    """The error that a failed call (a grpc.RpcError) stands for."""
    code, detail = call.code(), call.details() or ""
    retry_after = _retry_after(call.trailing_metadata() or ())
    if retry_after is not None or code == grpc.StatusCode.UNAVAILABLE:
        return Busy(detail, retry_after or 0.0)
    trailers = dict(call.trailing_metadata() or ())
    if kind := NAMED.get(trailers.get("adaptseg-error", "")) or _ERRORS.get(code):
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
    return pb.Image(raw=pb.RawImage(height=height, width=width))


def _pixels(image: Picture) -> list[Raw]:
    """Of an array, row by row, as they lie there; a file's bytes are in its message."""
    return [] if isinstance(image, bytes) else [np.ascontiguousarray(image).reshape(-1).data]


def _size(size: WantedSize) -> pb.LabelMapSize:
    return pb.MODEL if size == "model" else pb.INPUT
