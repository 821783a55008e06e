"""A small typed client, numpy in and out, over HTTP or gRPC.

with SegmentationClient("http://localhost:3000") as client:      # or grpc://localhost:3001; https, grpcs
    label_map = client.segment(image).label_map                   # (H, W) uint8 train ids
"""

from adaptseg_serve.client.answers import Answer, Dropped, ServiceError
from adaptseg_serve.client.asynchronous import AsyncSegmentationClient
from adaptseg_serve.client.credentials import Credentials
from adaptseg_serve.client.retry import Retry
from adaptseg_serve.client.synchronous import SegmentationClient

__all__ = ["Answer", "AsyncSegmentationClient", "Credentials", "Dropped", "Retry", "SegmentationClient", "ServiceError"]
