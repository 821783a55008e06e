"""The client for asyncio code; the twin of synchronous.py."""

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
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


class Transport(Protocol):
    """One door of the service."""

    async def segment(self, image: Picture, size: WantedSize, include: Sequence[Extra], timeout: float) -> Answer: ...

    async def labels(self, timeout: float) -> LabelSet: ...

    def stream(
        self, frames: AsyncIterable[Picture], size: WantedSize, latest_only: bool, max_age: float | None
    ) -> AsyncIterator[Answer | Dropped]: ...

    async def close(self) -> None: ...


class AsyncSegmentationClient:
    """Label maps from a service at `url`: http[s]://host:port or grpc[s]://host:port."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 30.0,
        retry: Retry | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        """timeout: seconds that a call may take, retries included. Create a grpc:// client in the running loop."""
        scheme, target = parse_address(url)
        who = credentials or Credentials()
        self._transport: Transport = _Http(url, who) if scheme.startswith("http") else _Grpc(scheme, target, who)
        self._timeout, self._retry = timeout, retry or Retry()

    async def segment(
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
        return await self._patiently(lambda left: self._transport.segment(image, size, include, left), timeout)

    async def labels(self, *, timeout: float | None = None) -> LabelSet:
        """What the numbers in its label maps mean: names, colours, `palette()`. Raises as `segment` does."""
        return await self._patiently(self._transport.labels, timeout)

    async def _patiently(self, ask: Callable[[float], Awaitable[T]], timeout: float | None) -> T:
        """What `ask` gives, which gets the seconds that are left; Busy is tried again."""
        end = time.monotonic() + (self._timeout if timeout is None else timeout)
        attempt = 1
        while True:
            try:
                return await ask(max(0.001, end - time.monotonic()))
            except Busy as busy:
                await asyncio.sleep(self._retry.pause(attempt, busy, end - time.monotonic()))
                attempt += 1

    def stream(
        self,
        frames: AsyncIterable[Picture],
        *,
        latest_only: bool = True,
        max_age: float | None = None,
        size: WantedSize = "input",
    ) -> AsyncIterator[Answer | Dropped]:
        """One Answer or Dropped for each of `frames`; gRPC only.

        latest_only: a newer frame takes the place of one that waits. Without it every frame has its turn.
        max_age: seconds after which a frame is dropped rather than answered.
        """
        return self._transport.stream(frames, size, latest_only, max_age)

    async def close(self) -> None:
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class _Http:
    def __init__(self, url: str, who: Credentials) -> None:
        verify = who.context() if url.startswith("https") else True
        self._url, self._client = url, httpx.AsyncClient(base_url=url, headers=who.headers(), verify=verify)

    async def segment(self, image: Picture, size: WantedSize, include: Sequence[Extra], timeout: float) -> Answer:
        request = await asyncio.to_thread(over_http.segment_request, image, size, include, timeout)
        try:
            async with asyncio.timeout(request["timeout"]):  # httpx's own is that of each part.
                response = await self._client.post(**request)
        except (httpx.TransportError, TimeoutError) as error:
            raise over_http.lost(self._url, error) from error
        return over_http.read_answer(response)

    async def labels(self, timeout: float) -> LabelSet:
        try:
            async with asyncio.timeout(timeout):
                response = await self._client.get("/v1/labels", timeout=timeout)
        except (httpx.TransportError, TimeoutError) as error:
            raise over_http.lost(self._url, error) from error
        return over_http.read_labels(response)

    def stream(
        self, frames: AsyncIterable[Picture], size: WantedSize, latest_only: bool, max_age: float | None
    ) -> AsyncIterator[Answer | Dropped]:
        raise ConfigError(f"Frames are streamed over gRPC, not to {self._url}. Use grpc://host:3001.")

    async def close(self) -> None:
        await self._client.aclose()


class _Grpc:
    def __init__(self, scheme: str, target: str, who: Credentials) -> None:
        if scheme == "grpcs":
            self._channel = grpc.aio.secure_channel(target, who.channel(), over_grpc.OPTIONS)
        else:
            self._channel = grpc.aio.insecure_channel(target, over_grpc.OPTIONS)
        self._metadata = tuple(who.headers().items())
        self._calls = over_grpc.Calls(self._channel)

    async def segment(self, image: Picture, size: WantedSize, include: Sequence[Extra], timeout: float) -> Answer:
        try:
            request = over_grpc.segment_request(image, size, include)
            return over_grpc.read_answer(await self._calls.segment(request, timeout=timeout, metadata=self._metadata))
        except grpc.aio.AioRpcError as error:
            raise over_grpc.error_of(error) from error

    async def labels(self, timeout: float) -> LabelSet:
        try:
            request = GetLabelInfoRequest()
            return over_grpc.read_labels(await self._calls.labels(request, timeout=timeout, metadata=self._metadata))
        except grpc.aio.AioRpcError as error:
            raise over_grpc.error_of(error) from error

    async def stream(
        self, frames: AsyncIterable[Picture], size: WantedSize, latest_only: bool, max_age: float | None
    ) -> AsyncIterator[Answer | Dropped]:
        broken: list[Exception] = []

        async def requests() -> AsyncIterator[object]:
            number = 0
            try:
                async for image in frames:
                    yield over_grpc.frame_request(number, image, size, latest_only, max_age)
                    number += 1
            except Exception as error:  # gRPC would cancel the call, as if the caller had wanted that.
                broken.append(error)
                raise

        call = self._calls.stream(requests(), metadata=self._metadata)
        try:
            async for response in call:
                yield over_grpc.read_frame(response)
        except grpc.aio.AioRpcError as error:
            raise (broken[0] if broken else over_grpc.error_of(error)) from error
        except asyncio.CancelledError:
            if broken:
                raise broken[0] from None
            raise
        finally:
            call.cancel()

    async def close(self) -> None:
        await self._channel.close(None)
