"""Skeleton of a ROS 2 node: camera images in, label maps out. `python examples/ros_node.py grpc://127.0.0.1:3001`

Subscribes to /camera/image_raw (rgb8 or bgr8), publishes /segmentation/label_map (mono8, train ids, the image's own
header). ROS is imported only where the node is started; `Bridge` knows nothing of it. The node was not run under ROS.
Images are sent raw: one of 3840x2160 has 24 MiB, for which the service wants a larger ADAPTSEG_MAX_BODY_BYTES.
"""

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.client import Dropped, SegmentationClient
from adaptseg_serve.errors import AdaptSegError

PAUSE = 1.0
"""Seconds until another stream is opened, where the service names no time of its own."""

_log = logging.getLogger(__name__)


class Bridge:
    """Between a callback that brings images and one that takes label maps, by way of a stream to the service.

    A stream ends when the service drains or is away, and when `publish` raises. Then another one is opened.
    """

    def __init__(self, url: str, publish: Callable[[Any, NDArray[np.uint8]], None]) -> None:
        """publish(header, label_map): called from the bridge's own thread, in the order of the images."""
        self._client, self._publish = SegmentationClient(url), publish
        self._newest: deque[tuple[Any, NDArray[np.uint8]]] = deque(maxlen=1)
        self._changed, self._closed = threading.Condition(), threading.Event()
        self.skipped = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def on_image(self, header: Any, image: NDArray[np.uint8]) -> None:
        """Take an (H, W, 3) uint8 RGB image; returns at once."""
        with self._changed:
            self._newest.append((header, image))
            self._changed.notify_all()

    def close(self) -> None:
        """Answer what is under way, then end."""
        with self._changed:
            self._closed.set()
            self._changed.notify_all()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        pause = self._stream()
        while not self._closed.wait(pause):
            pause = self._stream()

    def _stream(self) -> float:
        """One stream until its end; seconds until the next may be opened."""
        headers: dict[int, Any] = {}
        over, pause = threading.Event(), PAUSE
        try:
            for answer in self._client.stream(self._frames(headers, over)):
                header = headers.pop(answer.frame_id)
                if isinstance(answer, Dropped):
                    self.skipped += 1
                else:
                    self._publish(header, answer.label_map)
        except Exception as error:  # whatever it was: the camera goes on, and so does the bridge
            pause = getattr(error, "retry_after", 0.0) or PAUSE
            known = isinstance(error, AdaptSegError)
            _log.warning("The stream ended, another follows in %g s: %s", pause, error, exc_info=not known)
        with self._changed:
            over.set()
            self._changed.notify_all()
        self.skipped += len(headers)
        return pause

    def _frames(self, headers: dict[int, Any], over: threading.Event) -> Iterator[NDArray[np.uint8]]:
        """In a thread of gRPC's, which may outlive the stream: from then on the images are the next one's."""
        for number in count():
            with self._changed:
                self._changed.wait_for(lambda: self._newest or self._closed.is_set() or over.is_set())
                if over.is_set() or not self._newest:
                    return
                headers[number], image = self._newest.popleft()
            yield image


def to_rgb(message: Any) -> NDArray[np.uint8]:
    """sensor_msgs/Image (rgb8 or bgr8; `step` may be padded) -> (H, W, 3) uint8 RGB."""
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    image = rows[:, : 3 * message.width].reshape(message.height, message.width, 3)
    return np.ascontiguousarray(image[..., ::-1] if message.encoding == "bgr8" else image)


def main() -> None:
    import rclpy
    from rclpy.node import Node
    from sensor_msgs.msg import Image

    rclpy.init()
    node = Node("adaptseg")
    publisher = node.create_publisher(Image, "/segmentation/label_map", 1)

    def publish(header: Any, label_map: NDArray[np.uint8]) -> None:
        height, width = label_map.shape
        publisher.publish(
            Image(header=header, height=height, width=width, encoding="mono8", step=width, data=label_map.tobytes())
        )

    bridge = Bridge(sys.argv[1], publish)
    node.create_subscription(Image, "/camera/image_raw", lambda m: bridge.on_image(m.header, to_rgb(m)), 1)
    try:
        rclpy.spin(node)
    finally:
        bridge.close()


if __name__ == "__main__":
    main()
