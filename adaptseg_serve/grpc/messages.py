"""Between the messages of adaptseg/v1/segmentation.proto and arrays."""

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.errors import BadParameter
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.grpc.wire import Parted, Raw
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.segmentation import Segmentation, WantedSize
from adaptseg_serve.segmenter import Segmenter
from adaptseg_serve.uncertainty import to_bytes

Request = Parted[pb.SegmentRequest] | Parted[pb.StreamSegmentRequest]
"""Raw pixels are parted from it."""


async def segment(segmenter: Segmenter, request: Request, deadline: float | None) -> Segmentation:
    """The segmenter's answer to a request's image."""
    message = request.message
    image, wanted = message.image, wanted_size(message.size)
    scored = message.include.confidence or message.include.entropy
    match image.WhichOneof("content"):
        case "encoded":
            return await segmenter.segment_encoded(image.encoded, size=wanted, deadline=deadline, scored=scored)
        case "raw":
            return await segmenter.segment(
                pixels(image.raw, request.value), size=wanted, deadline=deadline, scored=scored
            )
    raise BadParameter("The request holds no image. Set image.encoded to a JPEG or PNG file, or image.raw to pixels.")


def wanted_size(size: int) -> WantedSize:
    match size:
        case pb.INPUT:
            return "input"
        case pb.MODEL:
            return "model"
    raise BadParameter(f"size is {size}; it must be INPUT (0) or MODEL (1).")


def pixels(raw: pb.RawImage, data: Raw) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB: a view of `data`."""
    expected = 3 * raw.height * raw.width
    if not data or len(data) != expected:
        raise BadParameter(
            f"image.raw holds {len(data)} bytes; {raw.height} x {raw.width} RGB pixels need {expected}, and at least 3."
        )
    return np.frombuffer(data, np.uint8).reshape(raw.height, raw.width, 3)


def label_map_message(label_map: LabelMap) -> pb.LabelMap:
    """Without its train ids."""
    height, width = label_map.shape
    return pb.LabelMap(height=height, width=width)


def train_ids(label_map: LabelMap) -> memoryview:
    """Row by row, as they lie there."""
    return np.ascontiguousarray(label_map).reshape(-1).data


async def extras_message(
    segmenter: Segmenter, include: pb.Include, answer: Segmentation, deadline: float | None
) -> pb.Extras | None:
    """What `include` asks for, None if nothing: a field that nobody asked for stays unset.

    Raises DeadlineExceeded at `deadline`, time.monotonic() seconds.
    """
    if not (include.confidence or include.entropy or include.shares):
        return None

    def work() -> pb.Extras:
        extras = pb.Extras()
        if answer.scored is not None:
            found = answer.scored.uncertainty()
            extras.confidence = to_bytes(found.confidence).tobytes() if include.confidence else b""
            extras.entropy = to_bytes(found.entropy).tobytes() if include.entropy else b""
        if include.shares:
            extras.shares.extend(answer.shares()[: len(segmenter.bundle.labels)])
        return extras

    return await segmenter.codec(work, deadline)


def timings_message(answer: Segmentation) -> pb.Timings:
    return pb.Timings(decode=answer.timings.decode, queue=answer.timings.queue, infer=answer.timings.infer)
