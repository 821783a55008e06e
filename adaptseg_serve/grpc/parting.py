"""gRPC interceptor: in the four calls about images, protobuf never touches pixels and label maps."""

from functools import lru_cache
from typing import Any

import grpc

from adaptseg_serve.grpc import large_fields as own
from adaptseg_serve.grpc.stubs import inference_pb2 as oip
from adaptseg_serve.grpc.wire import LargeField

INFER_REQUEST = LargeField(oip.ModelInferRequest, "raw_input_contents")
INFER_RESPONSE = LargeField(oip.ModelInferResponse, "raw_output_contents")
STREAM_INFER_RESPONSE = LargeField(oip.ModelStreamInferResponse, "infer_response", "raw_output_contents")

_CALLS: dict[str, tuple[LargeField[Any], LargeField[Any]]] = {
    "/inference.GRPCInferenceService/ModelInfer": (INFER_REQUEST, INFER_RESPONSE),
    "/inference.GRPCInferenceService/ModelStreamInfer": (INFER_REQUEST, STREAM_INFER_RESPONSE),
    own.SEGMENT: (own.SEGMENT_REQUEST, own.SEGMENT_RESPONSE),
    own.STREAM_SEGMENT: (own.FRAME_REQUEST, own.FRAME_RESPONSE),
}


class Parting(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stubs only
    """Hands these calls `Parted` requests, and sends the `Parted` responses that they give."""

    def __init__(self) -> None:
        self._parted = lru_cache(maxsize=len(_CALLS))(_parted)
        """A method's handler is the same from call to call."""

    async def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(details)
        if handler is None or details.method not in _CALLS:
            return handler
        return self._parted(handler, details.method)


def _parted(handler: Any, method: str) -> Any:
    request, response = _CALLS[method]
    return handler._replace(request_deserializer=request.read, response_serializer=response.write)
