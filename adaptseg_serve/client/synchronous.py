"""The client for ordinary code."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Event
from types import TracebackType
from typing import Protocol, Self, TypeVar

import grpc
import httpx

from adaptseg_serve.client import over_grpc, over_http
from adaptseg_serve.client.address import parse_address
from adaptseg_serve.client.answers import Answer, Dropped, Extra, Picture, WantedSize
from adaptseg_serve.client.credentials import Credentials
from adaptseg_serve.client.retry import Retry
from adaptseg_serve.errors import Busy, ConfigError
from adaptseg_serve.grpc.stubs.adaptseg.v1.segmentation_pb2 import GetLabelInfoRequest
from adaptseg_serve.labels import LabelSet

T = TypeVar("T")

PATIENCE = 1.0
"""Seconds that the end of a stream waits for its frames: OpenCV, left alone in a thread, aborts a process that ends."""


class Transport(Protocol):
    """One door of the service."""

    def segment(self, image: Picture, size: WantedSize, include: Sequence[Extra], timeout: float) -> Answer: ...

    def labels(self, timeout: float) -> LabelSet: ...

    def stream(
        self, frames: Iterable[Picture], size: WantedSize, latest_only: bool, max_age: float | None
    ) -> Iterator[Answer | Dropped]: ...

    def close(self) -> None: ...


class SegmentationClient:
    """Label maps from a service at `url`: http[s]://host:port or grpc[s]://host:port."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 30.0,
        retry: Retry | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        """timeout: seconds that a call may take, retries included; over HTTP, that each part of an answer may take."""
        scheme, target = parse_address(url)
        who = credentials or Credentials()
        self._transport: Transport = _Http(url, who) if scheme.startswith("http") else _Grpc(scheme, target, who)
        self._timeout, self._retry = timeout, retry or Retry()

    def segment(
        self,
        image: Picture,
        *,
        size: WantedSize = "input",
        include: Sequence[Extra] = (),
        timeout: float | None = None,
    ) -> Answer:
        """Label map of `image`: (H, W, 3) uint8 RGB, or a JPEG or PNG file's bytes.

        include: confidence and entropy of each pixel, tens of milliseconds for a large label map; the classes' shares.
        Raises the RequestErrors of adaptseg_serve.errors; Busy only after the retries.
        """
        return self._patiently(lambda left: self._transport.segment(image, size, include, left), timeout)

    def labels(self, *, timeout: float | None = None) -> LabelSet:
        """What the numbers in its label maps mean: names, colours, `palette()`. Raises as `segment` does."""
        return self._patiently(self._transport.labels, timeout)

    def _patiently(self, ask: Callable[[float], T], timeout: float | None) -> T:
        """What `ask` gives, which gets the seconds that are left; Busy is tried again."""
        end = time.monotonic() + (self._timeout if timeout is None else timeout)
        attempt = 1
        while True:
            try:
                return ask(max(0.001, end - time.monotonic()))
            except Busy as busy:
                time.sleep(self._retry.pause(attempt, busy, end - time.monotonic()))
                attempt += 1

    def stream(
        self,
        frames: Iterable[Picture],
        *,
        latest_only: bool = True,
        max_age: float | None = None,
        size: WantedSize = "input",
    ) -> Iterator[Answer | Dropped]:
        """One Answer or Dropped for each of `frames`, which are taken from another thread; gRPC only.

        latest_only: a newer frame takes the place of one that waits. Without it every frame has its turn.
        max_age: seconds after which a frame is dropped rather than answered.
        """
        return self._transport.stream(frames, size, latest_only, max_age)

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Http:
    def __init__(self, url: str, who: Credentials) -> None:
        verify = who.context() if url.startswith("https") else True
        self._url, self._client = url, httpx.Client(base_url=url, headers=who.headers(), verify=verify)

    def segment(self, image: Picture, size: WantedSize, include: Sequence[Extra], timeout: float) -> Answer:
        request = over_http.segment_request(image, size, include, timeout)
        try:
            response = self._client.post(**request)
        except httpx.TransportError as error:
            raise over_http.lost(self._url, error) from error
        return over_http.read_answer(response)

    def labels(self, timeout: float) -> LabelSet:
        try:
            response = self._client.get("/v1/labels", timeout=timeout)
        except httpx.TransportError as error:
            raise over_http.lost(self._url, error) from error
        return over_http.read_labels(response)

    def stream(
        self, frames: Iterable[Picture], size: WantedSize, latest_only: bool, max_age: float | None
    ) -> Iterator[Answer | Dropped]:
        raise ConfigError(f"Frames are streamed over gRPC, not to {self._url}. Use grpc://host:3001.")

    def close(self) -> None:
        self._client.close()


class _Grpc:
    def __init__(self, scheme: str, target: str, who: Credentials) -> None:
        if scheme == "grpcs":
            self._channel = grpc.secure_channel(target, who.channel(), over_grpc.OPTIONS)
        else:
            self._channel = grpc.insecure_channel(target, over_grpc.OPTIONS)
        self._metadata = tuple(who.headers().items())
        self._calls = over_grpc.Calls(self._channel)

    def segment(self, image: Picture, size: WantedSize, include: Sequence[Extra], timeout: float) -> Answer:
        try:
            request = over_grpc.segment_request(image, size, include)
            return over_grpc.read_answer(self._calls.segment(request, timeout=timeout, metadata=self._metadata))
        except grpc.RpcError as error:
            raise over_grpc.error_of(error) from error

    def labels(self, timeout: float) -> LabelSet:
        try:
            request = GetLabelInfoRequest()
            return over_grpc.read_labels(self._calls.labels(request, timeout=timeout, metadata=self._metadata))
        except grpc.RpcError as error:
            raise over_grpc.error_of(error) from error

    def stream(
        self, frames: Iterable[Picture], size: WantedSize, latest_only: bool, max_age: float | None
    ) -> Iterator[Answer | Dropped]:
        broken: list[BaseException] = []
        left, outside = Event(), Event()

        def requests() -> Iterator[object]:
            """In a thread of gRPC's. `outside` is set where `frames` is not at work."""
            try:
                for number, image in enumerate(frames):
                    request = over_grpc.frame_request(number, image, size, latest_only, max_age)
                    outside.set()
                    yield request
                    outside.clear()
                    if left.is_set():
                        return
            except GeneratorExit:
                raise
            except BaseException as error:
                # gRPC would only log an error, and hang after a SystemExit.
                broken.append(error)
                raise RuntimeError("the frames ended with an error") from error
            finally:
                outside.set()

        call = self._calls.stream(requests(), metadata=self._metadata)
        try:
            for response in call:
                yield over_grpc.read_frame(response)
        except grpc.RpcError as error:
            raise (broken[0] if broken else over_grpc.error_of(error)) from error
        finally:
            call.cancel()
            left.set()
            outside.wait(PATIENCE)

    def close(self) -> None:
        self._channel.close()
