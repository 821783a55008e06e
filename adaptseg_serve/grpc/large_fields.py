"""The fields of adaptseg.v1 that hold images and label maps; for the server and for our client.

The client brings none of inference.proto: tritonclient has its own, and one process can't hold both.
"""

from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.grpc.wire import LargeField

SEGMENT_REQUEST = LargeField(pb.SegmentRequest, "image", "raw", "rgb")
SEGMENT_RESPONSE = LargeField(pb.SegmentResponse, "label_map", "train_ids")
FRAME_REQUEST = LargeField(pb.StreamSegmentRequest, "image", "raw", "rgb")
FRAME_RESPONSE = LargeField(pb.StreamSegmentResponse, "result", "label_map", "train_ids")

SEGMENT = "/adaptseg.v1.SegmentationService/Segment"
STREAM_SEGMENT = "/adaptseg.v1.SegmentationService/StreamSegment"
