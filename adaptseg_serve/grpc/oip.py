"""`inference.GRPCInferenceService`: the Open Inference Protocol, as NVIDIA's tritonclient speaks it."""

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import lru_cache
from typing import Any, NamedTuple

from google.protobuf.json_format import ParseDict

from adaptseg_serve import oip, oip_model
from adaptseg_serve.errors import FAILED, MAX_DETAILS, BadParameter, RequestError
from adaptseg_serve.grpc.errors import answering, deadline_of
from adaptseg_serve.grpc.ordered import in_order
from adaptseg_serve.grpc.streams import Streams, check_drain, until_drain
from adaptseg_serve.grpc.stubs import inference_pb2 as pb
from adaptseg_serve.grpc.wire import HEAD_BYTES, HEADS, Parted, Raw
from adaptseg_serve.segmentation import Segmentation
from adaptseg_serve.segmenter import Segmenter

log = logging.getLogger(__name__)


class _Asked(NamedTuple):
    """What a request asks for beside its tensor's values, and what that tensor is to be."""

    model_name: str
    model_version: str
    datatype: str
    shape: tuple[int, ...]
    nbytes: int
    """Of pixels in binary; 0 for anything else."""
    timeout: int
    """Microseconds, 0 for none."""


class InferenceService:
    """The nine calls of protos/inference.proto, in its order. Requests and responses with tensors come and go `Parted`,
    see parting.py."""

    def __init__(self, segmenter: Segmenter, streams: Streams) -> None:
        self._segmenter, self._streams = segmenter, streams

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Any) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=self._segmenter.live)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Any) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._segmenter.ready)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Any) -> pb.ModelReadyResponse:
        """Of a model that isn't here, or no longer in that version: not ready, as Triton says, and no error."""
        here = oip_model.is_here(self._segmenter, request.name, request.version)
        return pb.ModelReadyResponse(ready=here and self._segmenter.ready)

    async def ServerMetadata(self, request: pb.ServerMetadataRequest, context: Any) -> pb.ServerMetadataResponse:
        return ParseDict(oip_model.SERVER, pb.ServerMetadataResponse())

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Any) -> pb.ModelMetadataResponse:
        await self._check_model(request.name, request.version, context)
        return ParseDict(oip_model.metadata(self._segmenter), pb.ModelMetadataResponse())

    async def ModelInfer(self, request: Parted[pb.ModelInferRequest], context: Any) -> Parted[pb.ModelInferResponse]:
        async with answering(context, self._segmenter):
            answers = await self._segment(request, deadline_of(context))
        with self._segmenter.metrics.timed("encode"):
            return Parted(_response(request.message, answers), [oip.output_bytes(answers)])

    async def ModelStreamInfer(
        self, requests: AsyncIterator[Parted[pb.ModelInferRequest]], context: Any
    ) -> AsyncIterator[Parted[pb.ModelStreamInferResponse]]:
        """Requests of a stream are answered in their order; one that fails doesn't end the stream."""
        deadline = deadline_of(context)
        async with answering(context, self._segmenter, count=False):
            with self._streams.one():
                window, known = self._segmenter.settings.max_batch, until_drain(requests, self._segmenter)
                answers = in_order(known, lambda r: self._stream_infer(r, deadline), window)
                async with aclosing(answers):
                    async for answer in answers:
                        yield answer
            check_drain(self._segmenter)

    async def ModelConfig(self, request: pb.ModelConfigRequest, context: Any) -> pb.ModelConfigResponse:
        await self._check_model(request.name, request.version, context)
        return ParseDict({"config": oip_model.config(self._segmenter)}, pb.ModelConfigResponse())

    async def ModelStatistics(self, request: pb.ModelStatisticsRequest, context: Any) -> pb.ModelStatisticsResponse:
        await self._check_model(request.name or oip_model.ALIAS, request.version, context)
        return ParseDict(oip_model.statistics(self._segmenter), pb.ModelStatisticsResponse())

    async def _check_model(self, name: str, version: str, context: Any) -> None:
        async with answering(context, self._segmenter, count=False):
            oip_model.check_model(self._segmenter, name, version)

    async def _stream_infer(
        self, request: Parted[pb.ModelInferRequest], deadline: float | None
    ) -> Parted[pb.ModelStreamInferResponse]:
        metrics = self._segmenter.metrics
        try:
            answers = await self._segment(request, deadline)
        except RequestError as error:
            metrics.request("grpc", "error", error.name)
            failed = pb.ModelInferResponse(id=request.message.id)
            return Parted(pb.ModelStreamInferResponse(error_message=str(error)[:MAX_DETAILS], infer_response=failed))
        except Exception:  # The other requests of the stream have done nothing wrong.
            log.exception("A request of a stream failed")
            metrics.request("grpc", "error", "internal")
            failed = pb.ModelInferResponse(id=request.message.id)
            return Parted(pb.ModelStreamInferResponse(error_message=FAILED, infer_response=failed))
        metrics.request("grpc", "ok")
        with metrics.timed("encode"):
            response = pb.ModelStreamInferResponse(infer_response=_response(request.message, answers))
            return Parted(response, [oip.output_bytes(answers)])

    async def _segment(self, request: Parted[pb.ModelInferRequest], deadline: float | None) -> list[Segmentation]:
        asked = self._asked(request)
        if request.raw:
            images = _binary(asked, request.raw[0], self._segmenter.settings.max_batch)
        else:  # numbers one by one, which take a while
            tensor, most = _numbers(request.message, asked), self._segmenter.settings.max_batch
            with self._segmenter.admitted() as served, served.decoding_slot():
                images = await self._segmenter.codec(lambda: oip.read_images([tensor], most), deadline, "read")
            # Again: swapped meanwhile?
            oip_model.check_model(self._segmenter, asked.model_name, asked.model_version)
        return await oip.infer(self._segmenter, images, oip.sooner(deadline, asked.timeout))

    def _asked(self, request: Parted[pb.ModelInferRequest]) -> _Asked:
        """Read and checked once for all requests with this message; but the model, which may be swapped, and what
        depends on the tensor's values or on the settings."""
        known: _Asked | None = request.notes.get(len(request.raw))
        if known is None:
            message = request.message
            oip_model.check_model(self._segmenter, message.model_name, message.model_version)
            known = request.notes[len(request.raw)] = _read(request)
        oip_model.check_model(self._segmenter, known.model_name, known.model_version)
        return known


def _response(request: pb.ModelInferRequest, answers: list[Segmentation]) -> pb.ModelInferResponse:
    """But for the tensor's bytes."""
    version, shape = oip_model.model_version(answers[0].bundle), tuple(oip.output_shape(answers))
    head = _response_head if len(request.id) <= HEAD_BYTES else _response_head.__wrapped__  # It would keep any name.
    return head(request.model_name, version, request.id, shape)


@lru_cache(maxsize=HEADS)
def _response_head(name: str, version: str, request_id: str, shape: tuple[int, ...]) -> pb.ModelInferResponse:
    """The same from frame to frame, so nobody may change it."""
    output = pb.ModelInferResponse.InferOutputTensor(name=oip.OUTPUT, datatype="UINT8", shape=shape)
    return pb.ModelInferResponse(model_name=name, model_version=version, id=request_id, outputs=[output])


def _timeout(request: pb.ModelInferRequest) -> int:
    """The parameter "timeout" in microseconds, 0 where there is none; clients send it signed or unsigned."""
    if "timeout" not in request.parameters:
        return 0
    parameter = request.parameters["timeout"]
    return parameter.int64_param or parameter.uint64_param


def _read(request: Parted[pb.ModelInferRequest]) -> _Asked:
    """Raises BadParameter. A message may hold millions of whatever it likes: it is looked at before it is copied."""
    message, in_binary = request.message, len(request.raw)
    oip.check_outputs([o.name for o in message.outputs])
    oip.check_inputs([tensor.name for tensor in message.inputs])
    if in_binary not in (0, 1):
        raise BadParameter(
            f"raw_input_contents has {in_binary} entries for 1 inputs. Give every input's bytes there, or none."
        )
    (tensor,) = message.inputs
    if in_binary and tensor.HasField("contents"):
        raise BadParameter("An input's values are in raw_input_contents or in its own contents, not in both.")
    shape = tuple(tensor.shape[: oip.DIMENSIONS + 1])
    nbytes = oip.pixel_bytes(tensor.datatype, shape) if in_binary else 0
    return _Asked(message.model_name, message.model_version, tensor.datatype, shape, nbytes, _timeout(message))


def _binary(asked: _Asked, raw: Raw, max_images: int) -> list[oip.OneImage]:
    if not asked.nbytes:
        return oip.read_images([oip.Tensor(oip.INPUT, asked.datatype, asked.shape, raw=raw)], max_images)
    return oip.pixel_views(raw, asked.shape, asked.nbytes, max_images)


def _numbers(request: pb.ModelInferRequest, asked: _Asked) -> oip.Tensor:
    """The one input, of which nothing came in binary."""
    (found,) = request.inputs
    contents = found.contents.bytes_contents if found.datatype == "BYTES" else found.contents.uint_contents
    oip.check_count_of_numbers(len(contents))
    return oip.Tensor(oip.INPUT, asked.datatype, asked.shape, values=contents)
