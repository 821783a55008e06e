"""Load by NVIDIA's tritonclient: `python gate_triton.py CLIENTS ROUNDS GRPC ...`; prints each server's ms as JSON.

A process of its own, as clients are: nothing of it runs in the server's interpreter, nor in the benchmark's. The
servers take turns of TURN requests a client in an order drawn anew each round: what else the machine does, and which
core it puts the clients on, meets all of them alike. One more round, before these, is not timed.
"""

import json
import random
import sys
import threading
import time
from contextlib import ExitStack

import numpy as np
import tritonclient.grpc as triton

SHAPE = (1, 512, 1024, 3)
TURN, COLD = 30, 5
"""Requests of each client in one turn, and how many of them are not timed: the first find the server's code cold."""


def client(
    targets: list[str],
    orders: list[list[int]],
    alone: threading.Lock,
    start: threading.Barrier,
    times: list[list[float]],
) -> None:
    """One client with a connection to each server, one request after the other."""
    image = triton.InferInput("image", list(SHAPE), "UINT8")
    image.set_data_from_numpy(np.zeros(SHAPE, np.uint8))
    # Clients of one process would share one connection; and Triton's own frames are larger than gRPC's default.
    channel = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    with ExitStack() as stack:
        servers = [stack.enter_context(triton.InferenceServerClient(each, channel_args=channel)) for each in targets]
        with alone:  # Channels of one process that connect at once are a third slower ever after.
            for server in servers:
                server.infer("segmenter", [image])
        for turn, which in ((turn, which) for turn, order in enumerate(orders) for which in order):
            start.wait()
            for number in range(TURN):
                began = time.perf_counter()
                label_map = servers[which].infer("segmenter", [image]).as_numpy("label_map")
                if turn and number >= COLD:
                    times[which].append(1000 * (time.perf_counter() - began))
                assert label_map is not None
                assert label_map.shape == SHAPE[:3]


def main(clients: int, rounds: int, targets: list[str]) -> None:
    # A client that fails doesn't come to the next turn: the others must not wait for it for ever.
    alone, start, draw = threading.Lock(), threading.Barrier(clients, timeout=120), random.Random(0)
    orders = [draw.sample(range(len(targets)), len(targets)) for _ in range(1 + rounds)]
    times = [list[float]() for _ in targets]
    threads = [threading.Thread(target=client, args=(targets, orders, alone, start, times)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(times))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
