"""The ASPP rewrite, fp16 arithmetic, static int8, fixed shapes: each against what it stands for."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from adaptseg_export.aspp import WINS_FROM, ShiftedAspp, with_shifted_aspp
from adaptseg_export.cli import main
from adaptseg_export.graph import write_graph
from adaptseg_export.precision import HalfDeployment, write_int8
from adaptseg_serve.bundle import MODEL, open_bundle
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_serve.runtimes.graph import read_graph
from adaptseg_training.checkpoint import GENERATOR, RECORD
from adaptseg_training.config import DomainConfig, GeneratorConfig, TrainConfig
from adaptseg_training.models import build_generator
from adaptseg_training.models.aspp import Aspp
from adaptseg_training.parsing import to_settings

SIZE = (64, 96)
SPEC = PreprocessSpec(SIZE, mean=(127.0,) * 3, std=(128.0,) * 3)


class Small(nn.Module):
    """A network that is quick to trace, with a head of 40 channels."""

    def __init__(self, branches: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 40, 8, stride=8)
        self.head = Aspp(40, 19, branches)  # type: ignore[arg-type]
        for conv in self.head.branches:
            nn.init.normal_(conv.weight, std=0.3)
            nn.init.normal_(conv.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.stem(images)))


@pytest.mark.parametrize("branches", [2, 4])
@pytest.mark.parametrize("size", [(1, 1), (5, 60), (33, 17), (65, 65)])
def test_the_rewrite_is_the_same_sum(branches: int, size: tuple[int, int]) -> None:
    head = Small(branches).head
    features = torch.randn(2, 40, *size)
    torch.testing.assert_close(ShiftedAspp(head)(features), head(features), atol=2e-4, rtol=1e-5)


def test_only_wide_heads_are_rewritten_and_in_a_copy() -> None:
    network = Small()
    assert with_shifted_aspp(network) is network
    rewritten = with_shifted_aspp(network, from_channels=40)
    assert isinstance(network.head, Aspp)
    assert [type(m) for m in rewritten.children()] == [nn.Conv2d, ShiftedAspp]
    assert WINS_FROM == 2048


def run(path: Path, images: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["label_map", "logits"], {"image": images})


def test_the_rewritten_head_exports_with_dynamic_sizes_and_fp16_computes_in_fp16(tmp_path: Path) -> None:
    network = with_shifted_aspp(Small(), from_channels=40).eval()
    write_graph(HalfDeployment(network, SPEC).eval(), tmp_path / "half.onnx")
    model = onnx.load(str(tmp_path / "half.onnx"))
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert {kinds[node.output[0]] for node in convolutions} == {onnx.TensorProto.FLOAT16}
    resize = next(node for node in model.graph.node if node.op_type == "Resize")
    assert kinds[resize.output[0]] == onnx.TensorProto.FLOAT
    for shape in ((1, 64, 96), (2, 97, 131)):
        images = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
        label_map, logits = run(tmp_path / "half.onnx", images)
        pixels = (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 127) / 128
        with torch.inference_mode():
            expected = Small()(pixels)
        assert np.abs(logits - expected.numpy()).max() < 0.02 * float(expected.abs().max())
        upsampled = nn.functional.interpolate(expected, shape[1:], mode="bilinear", align_corners=True)
        assert (label_map == upsampled.argmax(1).numpy()).mean() > 0.98


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lite0 with an untrained head: labels mean nothing, yet graphs can be compared."""
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    config = GeneratorConfig(backbone="lite0", weights="none")
    generator = build_generator(config, 19, aux=False).eval()
    settings = to_settings(replace(TrainConfig(), generator=config, source=DomainConfig(size=SIZE)))
    record = {"step": 7, "preset": "smoke", "command": "adaptseg-train smoke", "metrics": {}, "config": settings}
    (folder / RECORD).write_text(json.dumps(record))
    save_file(generator.state_dict(), folder / GENERATOR)
    return folder


def test_int8_needs_labelled_images(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(checkpoint), str(tmp_path / "b"), "--precisions", "int8"]) == 1
    assert "add --score DATASET ROOT SPLIT" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_int8_is_uint8_by_int8_per_channel_in_standard_operators(tmp_path: Path, tiny_bundle: Path) -> None:
    frames = [np.random.default_rng(i).integers(0, 256, (1, 48, 64, 3), dtype=np.uint8) for i in range(4)]
    write_int8(tiny_bundle / MODEL, tmp_path / "int8.onnx", frames)
    model = onnx.load(str(tmp_path / "int8.onnx"))
    assert {opset.domain for opset in model.opset_import} == {""}
    zeros = {tensor.name: tensor for tensor in model.graph.initializer if "zero_point" in tensor.name}
    kinds = {(tensor.data_type, bool(tensor.dims)) for tensor in zeros.values()}
    assert (onnx.TensorProto.INT8, True) in kinds, "weights: int8, a scale for each channel"
    assert (onnx.TensorProto.UINT8, False) in kinds, "activations: uint8"
    exact, rough = run(tiny_bundle / MODEL, frames[0]), run(tmp_path / "int8.onnx", frames[0])
    assert 0 < np.abs(exact[1] - rough[1]).max() < 0.1 * np.abs(exact[1]).max()


def test_fixed_shape_and_parity_travel_in_the_bundle(checkpoint: Path, tmp_path: Path) -> None:
    assert main([str(checkpoint), str(tmp_path / "b"), "--fixed-shape"]) == 0
    bundle = open_bundle(tmp_path / "b")
    assert bundle.graph("fp32") == MODEL
    assert bundle.manifest["artifacts"] == {"model.fixed.onnx": {"precision": "fp32", "shape": [1, *SIZE, 3]}}
    assert read_graph(bundle, "model.fixed.onnx")
    model = onnx.load(str(tmp_path / "b" / "model.fixed.onnx"))
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, *SIZE, 3]
    parity = bundle.parity()["artifacts"]
    assert parity[MODEL]["against"].startswith("torch")
    assert parity[MODEL]["agreement"] >= 0.9999
    assert parity[MODEL]["disagreeing"] == parity[MODEL]["ties"]
    assert sum(parity[MODEL]["comparisons"][0]["label_counts"]) == 65 * 129
    assert parity["model.fixed.onnx"]["disagreeing"] == parity["model.fixed.onnx"]["ties"]
