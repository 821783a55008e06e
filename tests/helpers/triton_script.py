"""Calls a server with NVIDIA's tritonclient, unchanged: `python triton_script.py HTTP GRPC FRAME.npy FILE.png OUT.npz`.

A process of its own: tritonclient and our stubs both register the proto package `inference`.
"""

import queue
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

MODEL = "tiny"


def inputs(module: Any, frame: Any, file: bytes) -> dict[str, Any]:
    """The same image as pixels and as a file."""
    pixels = module.InferInput("image", [1, *frame.shape], "UINT8")
    pixels.set_data_from_numpy(frame[None])
    encoded = module.InferInput("image", [1], "BYTES")
    encoded.set_data_from_numpy(np.array([file], dtype=np.object_))
    return {"pixels": pixels, "file": encoded}


def ask(client: Any) -> None:
    """Health and metadata, and the error of a model that isn't there."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    with pytest.raises(InferenceServerException, match="tiny"):
        client.get_model_metadata("other")


def over_grpc(target: str, frame: Any, file: bytes) -> dict[str, Any]:
    client = triton_grpc.InferenceServerClient(target)
    ask(client)
    assert client.get_server_metadata().name == "adaptseg-serve"
    assert client.get_model_metadata(MODEL).outputs[0].name == "label_map"
    assert client.get_model_config(MODEL).config.max_batch_size == 8
    answers = {
        f"grpc_{name}": client.infer(MODEL, [value], request_id="r1").as_numpy("label_map")
        for name, value in inputs(triton_grpc, frame, file).items()
    }
    answers |= stream(client, inputs(triton_grpc, frame, file)["file"])
    wanted = [triton_grpc.InferRequestedOutput("label_map")]
    compressed = client.infer(
        MODEL, [inputs(triton_grpc, frame, file)["pixels"]], outputs=wanted, compression_algorithm="gzip"
    )
    assert client.get_inference_statistics(MODEL).model_stats[0].inference_count >= 3
    client.close()
    return {**answers, "grpc_gzip": compressed.as_numpy("label_map")}


def stream(client: Any, value: Any) -> dict[str, Any]:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(3):
        client.async_stream_infer(MODEL, [value], request_id=str(number))
    found = [answers.get(timeout=10) for _ in range(3)]
    client.stop_stream()
    assert [result.get_response().id for result, error in found] == ["0", "1", "2"]
    return {f"grpc_stream_{i}": result.as_numpy("label_map") for i, (result, error) in enumerate(found)}


def over_http(address: str, frame: Any, file: bytes) -> dict[str, Any]:
    client = triton_http.InferenceServerClient(address)
    ask(client)
    assert client.get_server_metadata()["name"] == "adaptseg-serve"
    assert client.get_model_metadata(MODEL)["outputs"][0]["name"] == "label_map"
    assert client.get_model_config(MODEL)["max_batch_size"] == 8
    answers = {}
    for binary in (True, False):
        wanted = [triton_http.InferRequestedOutput("label_map", binary_data=binary)]
        for name, value in inputs(triton_http, frame, file).items():
            answers[f"http_{name}_{binary}"] = client.infer(MODEL, [value], outputs=wanted).as_numpy("label_map")
    for algorithm in ("gzip", "deflate"):
        value = inputs(triton_http, frame, file)["pixels"]
        response = client.infer(
            MODEL, [value], request_compression_algorithm=algorithm, response_compression_algorithm=algorithm
        )
        answers[f"http_{algorithm}"] = response.as_numpy("label_map")
    client.close()
    return answers


if __name__ == "__main__":
    http, grpc, frame_path, file_path, out = sys.argv[1:]
    frame, file = np.load(frame_path), Path(file_path).read_bytes()
    np.savez(out, **over_grpc(grpc, frame, file), **over_http(http, frame, file))
