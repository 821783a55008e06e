"""The numbers of an answer in JSON: the bytes that json.dumps would write, without its hold on the interpreter."""

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from adaptseg_serve.bundle import Bundle, open_bundle
from adaptseg_serve.http.oip_body import InferRequest, write_answer
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.segmentation import Segmentation, Timings

WANTED = InferRequest('"data":[', (), binary=False, timeout=0)


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return open_bundle(tiny_bundle)


def answers_of(label_maps: list[LabelMap], bundle: Bundle) -> list[Segmentation]:
    return [Segmentation(label_map, Timings(0, 0, 0), bundle) for label_map in label_maps]


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 16, 16), (3, 1, 7), (2, 128, 128), (2, 129, 131)])
def test_the_body_is_what_json_dumps_writes(shape: tuple[int, int, int], bundle: Bundle) -> None:
    values = np.resize(np.arange(256, dtype=np.uint8), shape)
    values = np.ascontiguousarray(values.transpose(0, 2, 1)).transpose(0, 2, 1)  # Rows need not lie one by one.
    output = {"name": "label_map", "datatype": "UINT8", "shape": list(shape), "data": values.ravel().tolist()}
    document = {"model_name": "tiny", "model_version": "1", "outputs": [output], "id": WANTED.id}
    body, length = write_answer(WANTED, answers_of(list(values), bundle), "tiny", "1")
    assert body == json.dumps(document, separators=(",", ":")).encode()
    assert length == len(body)


def test_other_threads_go_on_meanwhile(bundle: Bundle) -> None:
    """They have some 90 turns in this time; a json.dumps of as many numbers leaves them 4."""
    values = np.random.default_rng(0).integers(0, 19, (2048, 4096), np.uint8)
    writer = threading.Thread(target=write_answer, args=(WANTED, answers_of([values], bundle), "tiny", "1"))
    turns = 0
    writer.start()
    while writer.is_alive():
        time.sleep(0.001)
        turns += 1
    assert turns > 12
