"""Load by NVIDIA's tritonclient: `python gate_triton.py GRPC CLIENTS REQUESTS WARM`; prints the timed ms as JSON.

A process of its own, as clients are: nothing of it runs in the server's interpreter, nor in the benchmark's.
"""

import json
import sys
import threading
import time

import numpy as np
import tritonclient.grpc as triton

SHAPE = (1, 512, 1024, 3)


def client(target: str, requests: int, warm: int, start: threading.Barrier, times: list[float]) -> None:
    """One client with a connection of its own, one request after the other."""
    image = triton.InferInput("image", list(SHAPE), "UINT8")
    image.set_data_from_numpy(np.zeros(SHAPE, np.uint8))
    # Clients of one process would share one connection; and Triton's own frames are larger than gRPC's default.
    channel = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    with triton.InferenceServerClient(target, channel_args=channel) as server:
        for _ in range(warm):
            server.infer("segmenter", [image])
        start.wait()
        for _ in range(requests):
            began = time.perf_counter()
            label_map = server.infer("segmenter", [image]).as_numpy("label_map")
            times.append(1000 * (time.perf_counter() - began))
            assert label_map is not None
            assert label_map.shape == SHAPE[:3]


def main(target: str, clients: int, requests: int, warm: int) -> None:
    start, times = threading.Barrier(clients), list[float]()
    threads = [
        threading.Thread(target=client, args=(target, requests // clients, warm, start, times)) for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(times))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
