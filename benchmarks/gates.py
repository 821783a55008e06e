"""The seven gates of the service, each with its figure: `python benchmarks/gates.py [--only 5 6]`

1 leaves in good order, 2 drops abandoned work, 3 streams the latest frame and tells of each skipped one, 4 refuses
huge images unread, 5 adds little to the model's own time, 6 does so evenly, 7 gives one label map through every door.
Each starts servers of its own (`bentoml serve`) and asks them over the network. One line a gate, then a JSON line.
Gates 1, 4, 5 and 6 are times: on a machine that does other work they say more of that work.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from contest import machine
from gate import Gate
from gate_bytes import huge_image, one_label_map
from gate_life import abandoned, latest_frames, leaving
from gate_speed import overhead_and_tail

REQUESTS = 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=int, nargs="+", choices=range(1, 8), default=list(range(1, 8)))
    parser.add_argument("--requests", type=int, default=REQUESTS, help="of gates 5 and 6, for each number of clients")
    parser.add_argument("--triton", type=Path, help="gate 5's contender: a Python with nvidia-pytriton (gate_peer.py)")
    options = parser.parse_args()
    passed = {gate.number: gate for gate in measure(set(options.only), options.requests, options.triton)}
    gates = [passed[number] for number in sorted(passed)]
    print(json.dumps({"benchmark": "gates", **machine(), "gates": [asdict(gate) for gate in gates]}))
    return 0 if all(gate.passed for gate in gates) else 1


def measure(numbers: set[int], requests: int, triton: Path | None) -> list[Gate]:
    """The gates of these numbers, each printed as it is done."""
    runs: list[tuple[set[int], Callable[[], list[Gate]]]] = [
        ({1}, lambda: [leaving()]),
        ({2}, lambda: [abandoned()]),
        ({3}, lambda: [latest_frames()]),
        ({4}, lambda: [huge_image()]),
        ({5, 6}, lambda: overhead_and_tail(requests, triton)),
        ({7}, lambda: [one_label_map()]),
    ]
    found = []
    for wanted, run in runs:
        for gate in run() if wanted & numbers else []:
            print(gate, flush=True)
            found.append(gate)
    return found


if __name__ == "__main__":
    sys.exit(main())
