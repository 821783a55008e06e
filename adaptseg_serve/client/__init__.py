"""A small typed client, numpy in and out, over HTTP or gRPC.

with SegmentationClient("http://localhost:3000") as client:      # or grpc://localhost:3001; https, grpcs
    label_map = client.segment(image).label_map                   # (H, W) uint8 train ids
    colours = client.labels().palette()[label_map]                # (H, W, 3) uint8 RGB; .names has what they mean

Raw frames travel fastest over gRPC. A process that does little else saves another fifth of a call where it lets glibc
keep their memory: `adaptseg_serve.memory.keep_freed_memory(256 << 20)`, once (benchmarks/client.py has the figures).
"""

from adaptseg_serve.client.answers import Answer, Dropped, ServiceError
from adaptseg_serve.client.asynchronous import AsyncSegmentationClient
from adaptseg_serve.client.credentials import Credentials
from adaptseg_serve.client.retry import Retry
from adaptseg_serve.client.synchronous import SegmentationClient

__all__ = ["Answer", "AsyncSegmentationClient", "Credentials", "Dropped", "Retry", "SegmentationClient", "ServiceError"]
