"""The fields that hold images and label maps: in these four calls, protobuf never touches them."""

from typing import Any

import grpc

from adaptseg_serve.grpc.stubs import inference_pb2 as oip
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as own
from adaptseg_serve.grpc.wire import LargeField

INFER_REQUEST = LargeField(oip.ModelInferRequest, "raw_input_contents")
INFER_RESPONSE = LargeField(oip.ModelInferResponse, "raw_output_contents")
STREAM_INFER_RESPONSE = LargeField(oip.ModelStreamInferResponse, "infer_response", "raw_output_contents")
SEGMENT_REQUEST = LargeField(own.SegmentRequest, "image", "raw", "rgb")
SEGMENT_RESPONSE = LargeField(own.SegmentResponse, "label_map", "train_ids")
FRAME_REQUEST = LargeField(own.StreamSegmentRequest, "image", "raw", "rgb")
FRAME_RESPONSE = LargeField(own.StreamSegmentResponse, "result", "label_map", "train_ids")

SEGMENT = "/adaptseg.v1.SegmentationService/Segment"
STREAM_SEGMENT = "/adaptseg.v1.SegmentationService/StreamSegment"

_CALLS: dict[str, tuple[LargeField[Any], LargeField[Any]]] = {
    "/inference.GRPCInferenceService/ModelInfer": (INFER_REQUEST, INFER_RESPONSE),
    "/inference.GRPCInferenceService/ModelStreamInfer": (INFER_REQUEST, STREAM_INFER_RESPONSE),
    SEGMENT: (SEGMENT_REQUEST, SEGMENT_RESPONSE),
    STREAM_SEGMENT: (FRAME_REQUEST, FRAME_RESPONSE),
}


class LargeFields(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stubs only
    """Hands these calls `Parted` requests, and sends the `Parted` responses that they give."""

    async def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(details)
        if handler is None or details.method not in _CALLS:
            return handler
        request, response = _CALLS[details.method]
        return handler._replace(request_deserializer=request.read, response_serializer=response.write)
