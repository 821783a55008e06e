"""The project's own gRPC service: one image, the classes; reflection, and a port that is taken."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from helpers.doors import Door, PacedPredictor
from helpers.segmentation_calls import FRAME, PNG, RAW, in_door

from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.errors import ConfigError
from adaptseg_serve.grpc.server import GrpcServer
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.labels import CITYSCAPES
from adaptseg_serve.predictor import load_predictor


@pytest.mark.parametrize("image", [RAW, PNG], ids=["raw", "png"])
@pytest.mark.parametrize("size", [pb.INPUT, pb.MODEL])
def test_segment_gives_the_predictors_label_map(tiny_bundle: Path, image: pb.Image, size: int) -> None:
    async def work(stub: Any, door: Door) -> pb.SegmentResponse:
        return await stub.Segment(pb.SegmentRequest(image=image, size=size))

    answer = in_door(tiny_bundle, work)
    expected = load_predictor(open_bundle(tiny_bundle)).predict(FRAME[None], [(48, 64)])[0]
    assert (answer.label_map.height, answer.label_map.width) == (48, 64)
    assert answer.label_map.train_ids == expected.tobytes()
    assert answer.timings.infer > 0


@pytest.mark.parametrize(
    "wrong",
    [
        pb.SegmentRequest(),
        pb.SegmentRequest(image=pb.Image(encoded=b"GIF89a")),
        pb.SegmentRequest(image=pb.Image(raw=pb.RawImage(height=48, width=65, rgb=FRAME.tobytes()))),
        pb.SegmentRequest(image=pb.Image(raw=pb.RawImage())),
        pb.SegmentRequest(image=pb.Image(raw=pb.RawImage(height=2**32 - 1, width=2**32 - 1, rgb=b"x"))),
        pb.SegmentRequest(image=RAW, size=7),
    ],
    ids=["empty", "a GIF", "size", "no pixels", "huge", "unknown size"],
)
def test_a_bad_image_is_an_invalid_argument(tiny_bundle: Path, wrong: pb.SegmentRequest) -> None:
    async def work(stub: Any, door: Door) -> grpc.StatusCode:
        return await stub.Segment(wrong).code()

    assert in_door(tiny_bundle, work) == grpc.StatusCode.INVALID_ARGUMENT


def test_label_info_is_the_bundles(tiny_bundle: Path) -> None:
    async def work(stub: Any, door: Door) -> pb.GetLabelInfoResponse:
        return await stub.GetLabelInfo(pb.GetLabelInfoRequest())

    info = in_door(tiny_bundle, work)
    assert [c.name for c in info.classes] == list(CITYSCAPES.names)
    assert (info.classes[0].rgb, info.ignore_id, info.model_name) == (0x804080, 255, "tiny")


def test_reflection_lists_and_describes_the_services(tiny_bundle: Path) -> None:
    request = reflection_pb2.ServerReflectionRequest

    async def work(stub: Any, door: Door) -> list[Any]:
        reflection = reflection_pb2_grpc.ServerReflectionStub(door.channel)
        questions = [
            request(list_services=""),
            request(file_containing_symbol="adaptseg.v1.SegmentationService"),
            request(file_containing_symbol="inference.GRPCInferenceService"),
        ]
        return [answer async for answer in reflection.ServerReflectionInfo(iter(questions))]

    services, own, oip = in_door(tiny_bundle, work)
    assert {s.name for s in services.list_services_response.service} == {
        "adaptseg.v1.SegmentationService",
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    for answer, calls in ((own, 3), (oip, 9)):
        file = FileDescriptorProto.FromString(answer.file_descriptor_response.file_descriptor_proto[0])
        assert len(file.service[0].method) == calls


def test_a_taken_port_is_said_in_a_sentence(tiny_bundle: Path) -> None:
    async def work(stub: Any, door: Door) -> None:
        second = GrpcServer(door.segmenter, door.segmenter.settings)
        with pytest.raises(ConfigError, match="ADAPTSEG_GRPC_PORT"):
            await second.start()

    in_door(tiny_bundle, work, PacedPredictor())
