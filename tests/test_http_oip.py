"""The Open Inference Protocol over HTTP, against a real server."""

import base64
import gzip
import json
import struct
import urllib.error
import urllib.request
import zlib
from collections.abc import Mapping
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from helpers.serving import Server
from numpy.typing import NDArray

from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.errors import TooLarge
from adaptseg_serve.grpc.stubs import inference_pb2 as pb
from adaptseg_serve.grpc.stubs import inference_pb2_grpc
from adaptseg_serve.http.oip_body import read_request
from adaptseg_serve.oip_model import model_version
from adaptseg_serve.predictor import load_predictor

FRAMES = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)
FILE = cv2.imencode(".png", FRAMES[0, ..., ::-1])[1].tobytes()
LENGTH = "Inference-Header-Content-Length"
INFER = "/v2/models/tiny/infer"
JsonObject = dict[str, Any]


def call(server: Server, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Any:
    """(status, headers, body)"""
    request = urllib.request.Request(server.http_url + path, body, dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def tensor(**fields: Any) -> JsonObject:
    return {"name": "image", "datatype": "UINT8", "shape": list(FRAMES.shape), **fields}


def binary(document: JsonObject, *data: bytes) -> tuple[bytes, dict[str, str]]:
    header = json.dumps(document).encode()
    return header + b"".join(data), {LENGTH: str(len(header))}


def binary_frames(**document: Any) -> tuple[bytes, dict[str, str]]:
    inputs = [tensor(parameters={"binary_data_size": FRAMES.nbytes})]
    return binary({"inputs": inputs, "parameters": {"binary_data_output": True}, **document}, FRAMES.tobytes())


def label_maps(answer: Any) -> NDArray[np.uint8]:
    status, headers, body = answer
    assert status == 200, body
    length = int(headers[LENGTH])
    output = json.loads(body[:length])["outputs"][0]
    assert output["parameters"]["binary_data_size"] == len(body) - length
    return np.frombuffer(body[length:], np.uint8).reshape(output["shape"])


@pytest.fixture(scope="module")
def expected(server: Server) -> NDArray[np.uint8]:
    return np.stack(load_predictor(open_bundle(server.bundle)).predict(FRAMES, [(48, 64)] * 2))


def test_metadata_and_health(server: Server) -> None:
    bundle = open_bundle(server.bundle)
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/tiny/ready", "/v2/models/segmenter/ready"):
        assert call(server, path)[0] == 200
    assert json.loads(call(server, "/v2")[2])["name"] == "adaptseg-serve"
    for version in (bundle.version, model_version(bundle)):
        metadata = json.loads(call(server, f"/v2/models/tiny/versions/{version}")[2])
        assert metadata["versions"] == [model_version(bundle)]
    assert metadata["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}]
    assert json.loads(call(server, "/v2/models/tiny/config")[2])["max_batch_size"] == 8


def test_versions_are_numbers_as_tritons_clients_expect(server: Server) -> None:
    (version,) = json.loads(call(server, "/v2/models/tiny")[2])["versions"]
    assert str(int(version)) == version
    assert int(version) < 1 << 63
    answer = call(server, f"/v2/models/tiny/versions/{version}/infer", *binary_frames())
    assert json.loads(answer[2][: int(answer[1][LENGTH])])["model_version"] == version


def statistics(server: Server, path: str = "/v2/models/tiny/stats") -> JsonObject:
    (one,) = json.loads(call(server, path)[2])["model_stats"]
    return one  # type: ignore[no-any-return]


def test_statistics_count_both_doors_and_both_doors_tell_them(server: Server) -> None:
    before = statistics(server)
    assert call(server, INFER, *binary_frames())[0] == 200
    with grpc.insecure_channel(server.grpc_target) as channel:
        stub = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        shape, data = FRAMES[:1].shape, FRAMES[:1].tobytes()
        tensors = [pb.ModelInferRequest.InferInputTensor(name="image", datatype="UINT8", shape=shape)]
        stub.ModelInfer(pb.ModelInferRequest(model_name="tiny", inputs=tensors, raw_input_contents=[data]))
        told = stub.ModelStatistics(pb.ModelStatisticsRequest(name="tiny")).model_stats[0]
    bad = {"inputs": [tensor(datatype="BYTES", shape=[1], data=["AAAA"])]}
    assert call(server, INFER, json.dumps(bad).encode())[0] == 415
    after = statistics(server, "/v2/models/stats")
    assert after["inference_count"] - before["inference_count"] == 3
    assert 2 <= after["execution_count"] - before["execution_count"] <= 3
    stages = {name: after["inference_stats"][name]["count"] for name in after["inference_stats"] if name != "fail"}
    assert set(stages.values()) == {before["inference_stats"]["success"]["count"] + 2}
    assert after["inference_stats"]["fail"]["count"] == before["inference_stats"]["fail"]["count"] + 1
    assert (told.version, told.inference_count) == (after["version"], after["inference_count"])
    assert told.inference_stats.success.ns == after["inference_stats"]["success"]["ns"]
    assert call(server, "/v2/models/other/stats")[0] == 404


def test_binary_in_and_out(server: Server, expected: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(label_maps(call(server, INFER, *binary_frames())), expected)


def test_an_answer_says_its_bundle_and_its_times(server: Server) -> None:
    _, headers, _ = call(server, INFER, *binary_frames())
    assert headers["X-Model-Version"] == open_bundle(server.bundle).version
    stages = [part.partition(";dur=")[0] for part in headers["Server-Timing"].split(", ")]
    assert stages == ["decode", "queue", "infer", "encode"]


def test_json_in_and_out(server: Server, expected: NDArray[np.uint8]) -> None:
    document = {"id": "\ud800 7", "inputs": [tensor(data=FRAMES.tolist())]}
    status, headers, body = call(server, INFER, json.dumps(document).encode())
    answer = json.loads(body)
    assert status == 200
    assert LENGTH not in headers
    assert (answer["id"], answer["model_name"]) == ("\ud800 7", "tiny")
    assert np.array_equal(np.reshape(answer["outputs"][0]["data"], answer["outputs"][0]["shape"]), expected)


def test_files_in_binary_and_in_base64(server: Server, expected: NDArray[np.uint8]) -> None:
    element = struct.pack("<I", len(FILE)) + FILE
    wanted = {"outputs": [{"name": "label_map", "parameters": {"binary_data": True}}]}
    parameters = {"binary_data_size": len(element)}
    in_binary = binary({"inputs": [tensor(datatype="BYTES", shape=[1], parameters=parameters)], **wanted}, element)
    text = base64.b64encode(FILE).decode()
    in_json = json.dumps({"inputs": [tensor(datatype="BYTES", shape=[1], data=[text])], **wanted}).encode()
    np.testing.assert_array_equal(label_maps(call(server, INFER, *in_binary)), expected[:1])
    np.testing.assert_array_equal(label_maps(call(server, INFER, in_json)), expected[:1])


@pytest.mark.parametrize(("name", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_bodies(server: Server, expected: NDArray[np.uint8], name: str, compress: Any) -> None:
    body, headers = binary_frames()
    answer = call(server, INFER, compress(body), {**headers, "Content-Encoding": name})
    np.testing.assert_array_equal(label_maps(answer), expected)


def bad_bodies() -> list[Any]:
    body, headers = binary_frames()
    one = list(FRAMES[:1].shape)
    bomb = gzip.compress(bytes(64 << 20))
    documents: list[tuple[str, Any]] = [
        ("not an object", [1]),
        ("no inputs", {}),
        ("inputs of the wrong type", {"inputs": {}}),
        ("an input of the wrong type", {"inputs": [1]}),
        ("no tensor", {"inputs": []}),
        ("no name", {"inputs": [{}]}),
        ("another name", {"inputs": [tensor(name="x", data=[])]}),
        ("no data", {"inputs": [tensor()]}),
        ("no datatype", {"inputs": [{"name": "image", "shape": one, "data": []}]}),
        ("datatype", {"inputs": [tensor(datatype="FP32", data=[])]}),
        ("shape of texts", {"inputs": [tensor(shape=["1"], data=[])]}),
        ("shape of a huge number", {"inputs": [tensor(shape=[10**4000] * 3 + [3], data=[])]}),
        ("too few values", {"inputs": [tensor(data=[1, 2, 3])]}),
        ("ragged values", {"inputs": [tensor(data=[[1, 2], [3]])]}),
        ("fractions", {"inputs": [tensor(shape=[1, 1, 1, 3], data=[0.5, 1, 2])]}),
        ("negative values", {"inputs": [tensor(shape=[1, 1, 1, 3], data=[-1, 1, 2])]}),
        ("huge values", {"inputs": [tensor(shape=[1, 1, 1, 3], data=[10**30, 1, 2])]}),
        ("texts as pixels", {"inputs": [tensor(shape=[1, 1, 1, 3], data=["a", "b", "c"])]}),
        (
            "one long text among many",
            {"inputs": [tensor(shape=[1, 1, 50_000, 3], data=["x" * 500_000, *[""] * 149_999])]},
        ),
        ("nulls as pixels", {"inputs": [tensor(shape=[1, 1, 1, 3], data=[None, 1, {}])]}),
        ("no base64", {"inputs": [tensor(datatype="BYTES", shape=[1], data=["%"])]}),
        ("base64 outside ASCII", {"inputs": [tensor(datatype="BYTES", shape=[1], data=["\u00e9"])]}),
        ("numbers as files", {"inputs": [tensor(datatype="BYTES", shape=[1], data=[1])]}),
        ("an address as a file", {"inputs": [tensor(datatype="BYTES", shape=[1], data=["aHR0cDovL2EuYi9jLnBuZw=="])]}),
        ("output's name", {"inputs": [], "outputs": [{"name": "logits"}]}),
        ("output without a name", {"inputs": [], "outputs": [{}]}),
        ("parameters", {"inputs": [], "parameters": []}),
        ("timeout", {"inputs": [tensor(shape=[1, 1, 1, 3], data=[1, 2, 3])], "parameters": {"timeout": -5}}),
        ("timeout's type", {"inputs": [], "parameters": {"timeout": "soon"}}),
        ("binary_data_size", {"inputs": [tensor(parameters={"binary_data_size": 10})]}),
        ("binary_data_size's type", {"inputs": [tensor(parameters={"binary_data_size": 1.5})]}),
    ]
    cases: list[tuple[str, bytes, dict[str, str]]] = [(name, json.dumps(d).encode(), {}) for name, d in documents]
    cases += [
        ("empty", b"", {}),
        ("not JSON", b"hello", {}),
        ("deep JSON", b"[" * 100_000, {}),
        ("not text", b"\xff\xfe\x00", {}),
        ("no header length", body, {}),
        ("header length too small", body, {LENGTH: "5"}),
        ("header length too large", body, {LENGTH: str(len(body) + 1)}),
        ("header length that is no number", body, {LENGTH: "-1"}),
        ("binary data cut short", body[:-1], headers),
        ("binary data too long", body + b"x", headers),
        ("unknown encoding", body, {**headers, "Content-Encoding": "br"}),
        ("gzip that isn't", body, {**headers, "Content-Encoding": "gzip"}),
        ("gzip cut short", gzip.compress(body)[:-20], {**headers, "Content-Encoding": "gzip"}),
        ("a gzip bomb", bomb, {"Content-Encoding": "gzip"}),
        ("a timeout header", body, {**headers, "X-Request-Timeout-Ms": "soon"}),
    ]
    return [pytest.param(*rest, id=name) for name, *rest in cases]


@pytest.mark.parametrize(("body", "headers"), bad_bodies())
def test_what_a_client_gets_wrong_is_named_and_mended(server: Server, body: bytes, headers: dict[str, str]) -> None:
    status, _, answer = call(server, INFER, body, headers)
    assert 400 <= status < 500, answer
    assert len(json.loads(answer)["error"]) > 20


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_images_that_are_too_many_pixels_together_are_a_413(server: Server) -> None:
    """Each alone would be decoded; eight flat ones of 16 million pixels are a few tens of KB, and 500 MB of numbers."""
    header = struct.pack(">IIBBBBB", 4000, 3000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    files = [base64.b64encode(png).decode()] * 2
    body = {"inputs": [tensor(datatype="BYTES", shape=[2], data=files)]}
    status, _, answer = call(server, INFER, json.dumps(body).encode())
    assert (status, "24000000 pixels together" in json.loads(answer)["error"]) == (413, True), answer


def test_numbers_one_by_one_are_not_too_many() -> None:
    """JSON would hold the interpreter, and so every other request, for as long as it makes them."""
    before = b'{"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 1000, 667, 3], "data": ['
    with pytest.raises(TooLarge, match="at most 2000000 may come one by one"):
        read_request(before + b"1," * 2_001_000 + b"1]}]}", None)


def test_what_is_quoted_back_is_cut(server: Server) -> None:
    body = {"inputs": [], "outputs": [{"name": "x" * 100_000}]}
    _, _, answer = call(server, INFER, json.dumps(body).encode())
    assert len(answer) < 1100


@pytest.mark.parametrize(
    "path", ["/v2/models/other", "/v2/models/tiny/versions/9", "/v2/models/other/ready", "/v2/nothing"]
)
def test_what_is_not_there_is_a_404(server: Server, path: str) -> None:
    status, _, answer = call(server, path)
    assert status == 404
    assert "error" in json.loads(answer)
