"""`inference.GRPCInferenceService`: the Open Inference Protocol, as NVIDIA's tritonclient speaks it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from adaptseg_serve import oip
from adaptseg_serve.errors import BadParameter, RequestError
from adaptseg_serve.grpc.errors import answering, deadline_of
from adaptseg_serve.grpc.ordered import in_order
from adaptseg_serve.grpc.statistics import Statistics
from adaptseg_serve.grpc.stubs import inference_pb2 as pb
from adaptseg_serve.segmenter import Segmentation, Segmenter


class InferenceService:
    """The nine calls of protos/inference.proto, in its order."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._statistics = Statistics()

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Any) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Any) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._segmenter.ready)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Any) -> pb.ModelReadyResponse:
        async with answering(context, self._segmenter, count=False):
            oip.check_model(self._segmenter, request.name, request.version)
        return pb.ModelReadyResponse(ready=self._segmenter.ready)

    async def ServerMetadata(self, request: pb.ServerMetadataRequest, context: Any) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name=oip.SERVER_NAME, version=oip.SERVER_VERSION, extensions=oip.EXTENSIONS)

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Any) -> pb.ModelMetadataResponse:
        async with answering(context, self._segmenter, count=False):
            oip.check_model(self._segmenter, request.name, request.version)
        tensor = pb.ModelMetadataResponse.TensorMetadata
        return pb.ModelMetadataResponse(
            name=self._segmenter.bundle.name,
            versions=[self._segmenter.bundle.version],
            platform=oip.PLATFORM,
            inputs=[tensor(name=oip.INPUT, datatype="UINT8", shape=oip.INPUT_SHAPE)],
            outputs=[tensor(name=oip.OUTPUT, datatype="UINT8", shape=oip.OUTPUT_SHAPE)],
        )

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Any) -> pb.ModelInferResponse:
        async with answering(context, self._segmenter):
            answers = await self._infer(request, deadline_of(context))
        with self._segmenter.metrics.timed("encode"):
            return self._response(request, answers)

    async def ModelStreamInfer(
        self, requests: AsyncIterator[pb.ModelInferRequest], context: Any
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        """Requests of a stream are answered in their order; one that fails doesn't end the stream."""
        deadline = deadline_of(context)
        async with answering(context, self._segmenter, count=False):
            answers = in_order(requests, lambda r: self._stream_infer(r, deadline), self._segmenter.settings.max_batch)
            async with aclosing(answers):
                async for answer in answers:
                    yield answer

    async def ModelConfig(self, request: pb.ModelConfigRequest, context: Any) -> pb.ModelConfigResponse:
        async with answering(context, self._segmenter, count=False):
            oip.check_model(self._segmenter, request.name, request.version)
        settings = self._segmenter.settings
        image, label_map = oip.INPUT_SHAPE[1:], oip.OUTPUT_SHAPE[1:]
        return pb.ModelConfigResponse(
            config=pb.ModelConfig(
                name=self._segmenter.bundle.name,
                platform=oip.PLATFORM,
                max_batch_size=settings.max_batch,
                input=[pb.ModelInput(name=oip.INPUT, data_type=pb.TYPE_UINT8, dims=image)],
                output=[pb.ModelOutput(name=oip.OUTPUT, data_type=pb.TYPE_UINT8, dims=label_map)],
                dynamic_batching=pb.ModelDynamicBatching(max_queue_delay_microseconds=round(settings.max_delay * 1e6)),
            )
        )

    async def ModelStatistics(self, request: pb.ModelStatisticsRequest, context: Any) -> pb.ModelStatisticsResponse:
        async with answering(context, self._segmenter, count=False):
            oip.check_model(self._segmenter, request.name or oip.ALIAS, request.version)
        bundle, executions = self._segmenter.bundle, self._segmenter.metrics.executions
        statistics = self._statistics.message(bundle.name, bundle.version, executions)
        return pb.ModelStatisticsResponse(model_stats=[statistics])

    async def _stream_infer(self, request: pb.ModelInferRequest, deadline: float | None) -> pb.ModelStreamInferResponse:
        metrics = self._segmenter.metrics
        try:
            answers = await self._infer(request, deadline)
        except RequestError as error:
            metrics.request("grpc", "error", error.name)
            failed = pb.ModelInferResponse(id=request.id)
            return pb.ModelStreamInferResponse(error_message=str(error), infer_response=failed)
        metrics.request("grpc", "ok")
        with metrics.timed("encode"):
            return pb.ModelStreamInferResponse(infer_response=self._response(request, answers))

    async def _infer(self, request: pb.ModelInferRequest, deadline: float | None) -> list[Segmentation]:
        started = time.monotonic()
        try:
            answers = await self._segment(request, deadline)
        except (RequestError, asyncio.CancelledError):
            self._statistics.failed(started)
            raise
        self._statistics.succeeded(answers, started)
        return answers

    def _response(self, request: pb.ModelInferRequest, answers: list[Segmentation]) -> pb.ModelInferResponse:
        output = pb.ModelInferResponse.InferOutputTensor(
            name=oip.OUTPUT, datatype="UINT8", shape=oip.output_shape(answers)
        )
        return pb.ModelInferResponse(
            model_name=request.model_name,
            model_version=answers[0].bundle.version,
            id=request.id,
            outputs=[output],
            raw_output_contents=[oip.output_bytes(answers)],
        )

    async def _segment(self, request: pb.ModelInferRequest, deadline: float | None) -> list[Segmentation]:
        oip.check_model(self._segmenter, request.model_name, request.model_version)
        oip.check_outputs([o.name for o in request.outputs])
        images = oip.read_images(_tensors(request), self._segmenter.settings.max_batch)
        return await oip.infer(self._segmenter, images, oip.sooner(deadline, _timeout(request)))


def _timeout(request: pb.ModelInferRequest) -> int:
    """The parameter "timeout" in microseconds, 0 where there is none; clients send it signed or unsigned."""
    if "timeout" not in request.parameters:
        return 0
    parameter = request.parameters["timeout"]
    return parameter.int64_param or parameter.uint64_param


def _tensors(request: pb.ModelInferRequest) -> list[oip.Tensor]:
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise BadParameter(
            f"raw_input_contents has {len(raw)} entries for {len(request.inputs)} inputs. "
            "Give every input's bytes there, or none."
        )
    if raw and any(tensor.HasField("contents") for tensor in request.inputs):
        raise BadParameter("An input's values are in raw_input_contents or in its own contents, not in both.")
    if raw:
        return [oip.Tensor(t.name, t.datatype, tuple(t.shape), raw=r) for t, r in zip(request.inputs, raw, strict=True)]
    return [oip.Tensor(t.name, t.datatype, tuple(t.shape), values=_values(t)) for t in request.inputs]


def _values(tensor: pb.ModelInferRequest.InferInputTensor) -> list[Any]:
    return list(tensor.contents.bytes_contents if tensor.datatype == "BYTES" else tensor.contents.uint_contents)
