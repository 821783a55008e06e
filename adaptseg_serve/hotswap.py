"""Change the served bundle without a restart: looks at its directory now and then, and swaps it under load.

Point ADAPTSEG_BUNDLE at a directory or a symbolic link, set ADAPTSEG_BUNDLE_WATCH to seconds between two looks, and
put another bundle there (`mv -T`, or a new link: whatever changes the name at once). A bundle that can't be verified,
loaded or warmed up, or whose classes are others, changes nothing: the old one goes on, and the log says why.
"""

import asyncio
import logging
from pathlib import Path

from adaptseg_serve.bundle import manifest_digest, open_bundle
from adaptseg_serve.errors import AdaptSegError
from adaptseg_serve.segmenter import Segmenter

_log = logging.getLogger(__name__)


class BundleWatch:
    """Watches the directory of `segmenter`'s bundle from `start` to `stop`."""

    def __init__(self, segmenter: Segmenter, path: Path, every: float) -> None:
        """every: seconds between two looks."""
        self._segmenter, self._path, self._every = segmenter, path, every
        self._seen = segmenter.bundle.digest
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Call in the event loop, once the segmenter has started."""
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while not self._segmenter.draining:
            await asyncio.sleep(self._every)
            try:
                await self._look()
            except Exception:  # a network folder that is away for a while, say
                _log.exception("%s can't be looked at; the next look is in %g s", self._path, self._every)

    async def _look(self) -> None:
        """Swap where the manifest has changed. What was refused is tried again only when it changes again."""
        digest = await asyncio.to_thread(manifest_digest, self._path)
        if digest is None or digest == self._seen:
            return
        self._seen = digest
        old = self._segmenter.bundle
        if digest == old.digest:  # what was refused has been taken away again
            return
        try:
            bundle = await asyncio.to_thread(open_bundle, self._path)
            swapped = await self._segmenter.swap(bundle)
        except AdaptSegError as error:
            self._segmenter.metrics.swap("refused")
            _log.error("The bundle in %s is not served; %s %s goes on. %s", self._path, old.name, old.version, error)
        except Exception:
            self._segmenter.metrics.swap("refused")
            _log.exception("The bundle in %s can't be served; %s %s goes on", self._path, old.name, old.version)
        else:
            if swapped:
                self._segmenter.metrics.swap("done")
                _log.info("bundle %s %s took the place of %s", bundle.name, bundle.version, old.version)
