"""Skeleton of a ROS 2 node: camera images in, label maps out. `python examples/ros_node.py grpc://127.0.0.1:3001`

Subscribes to /camera/image_raw (rgb8 or bgr8), publishes /segmentation/label_map (mono8, train ids, the image's own
header). ROS is imported only where the node is started; `Bridge` knows nothing of it. The node was not run under ROS.
"""

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.client import Dropped, SegmentationClient


class Bridge:
    """Between a callback that brings images and one that takes label maps, by way of one stream to the service."""

    def __init__(self, url: str, publish: Callable[[Any, NDArray[np.uint8]], None]) -> None:
        """publish(header, label_map): called from the bridge's own thread, in the order of the images."""
        self._client, self._publish = SegmentationClient(url), publish
        self._newest: deque[tuple[Any, NDArray[np.uint8]]] = deque(maxlen=1)
        self._arrived, self._closed = threading.Event(), False
        self._headers: dict[int, Any] = {}
        self.skipped = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def on_image(self, header: Any, image: NDArray[np.uint8]) -> None:
        """Take an (H, W, 3) uint8 RGB image; returns at once."""
        self._newest.append((header, image))
        self._arrived.set()

    def close(self) -> None:
        """Answer what is under way, then end."""
        self._closed = True
        self._arrived.set()
        self._thread.join()
        self._client.close()

    def _frames(self) -> Iterator[NDArray[np.uint8]]:
        number = 0
        while not self._closed or self._newest:
            self._arrived.wait()
            self._arrived.clear()
            while self._newest:
                self._headers[number], image = self._newest.popleft()
                yield image
                number += 1

    def _run(self) -> None:
        for answer in self._client.stream(self._frames()):
            header = self._headers.pop(answer.frame_id)
            if isinstance(answer, Dropped):
                self.skipped += 1
            else:
                self._publish(header, answer.label_map)


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
