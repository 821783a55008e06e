"""The ASPP rewrite, fp16 arithmetic, static int8, fixed shapes: each against what it stands for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from adaptseg_export import artifacts
from adaptseg_export.agreement import Agreement, Comparison
from adaptseg_export.artifacts import _admit, calibration_frames, make_fixed
from adaptseg_export.aspp import WINS_FROM, ShiftedAspp, with_shifted_aspp
from adaptseg_export.deployment import MainLevel
from adaptseg_export.graph import write_graph
from adaptseg_export.options import ExportOptions
from adaptseg_export.parity import ParityError
from adaptseg_export.precision import HalfDeployment, with_folded_norms, write_int8
from adaptseg_export.writer import Record, write_bundle
from adaptseg_serve.bundle import MODEL, open_bundle
from adaptseg_serve.labels import CITYSCAPES
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_serve.runtimes.graph import read_graph
from adaptseg_training.config import Backbone, GeneratorConfig
from adaptseg_training.models import build_generator
from adaptseg_training.models.aspp import Aspp

SIZE = (64, 96)
SPEC = PreprocessSpec(SIZE, mean=(127.0,) * 3, std=(128.0,) * 3)


class Small(nn.Module):
    """A network that is quick to trace, with a head of 40 channels."""

    def __init__(self, branches: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 40, 8, stride=8)
        self.head = Aspp(40, 19, branches)  # type: ignore[arg-type]  # an int: 2 or 4
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
    assert [node.op_type for node in model.graph.node if "image" in node.input] == ["Cast"], "TensorRT takes no more"
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


@pytest.mark.parametrize("backbone", ["lite0", "resnet101"])
def test_folding_batch_norm_changes_nothing_but_rounding_and_leaves_none(backbone: Backbone) -> None:
    torch.manual_seed(0)
    config = GeneratorConfig(backbone=backbone, resnet_layers=(1, 1, 1, 1), weights="none")
    network = MainLevel(build_generator(config, 5, aux=True)).eval().double()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    folded = with_folded_norms(network)
    images = torch.randn(1, 3, 65, 97, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(folded(images), network(images), rtol=1e-9, atol=1e-9)
    assert norms
    assert not [module for module in folded.modules() if isinstance(module, nn.BatchNorm2d)]


def test_calibration_frames_are_spread_and_of_the_networks_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "CALIBRATION_FRAMES", 3)
    options = ExportOptions("c", Path("b"), calibrate=("streets", Path("-"), "dusk"))
    frames = calibration_frames(options, SPEC)
    assert [frame.shape for frame in frames] == [(1, *SIZE, 3)] * 3
    assert len({frame.tobytes() for frame in frames}) == 3


def test_calibration_streets_are_shrunk_to_a_small_networks_size() -> None:
    frames = calibration_frames(ExportOptions("c", Path("b")), PreprocessSpec((32, 48)))
    assert {frame.shape for frame in frames} == {(1, 32, 48, 3)}


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


def test_a_fixed_shape_is_the_same_graph_with_every_dimension_known(tmp_path: Path, tiny_bundle: Path) -> None:
    tiny = open_bundle(tiny_bundle)
    record = Record("fixed", tiny.preprocess, CITYSCAPES)
    artifact = make_fixed(record, tiny.model_path, tmp_path)
    assert artifact.agreement.only_ties
    with_fixed = replace(record, artifacts={artifact.path.name: artifact.record})
    write_bundle(tmp_path / "b", tiny.model_path, with_fixed, graphs=[artifact.path])
    bundle = open_bundle(tmp_path / "b")
    assert bundle.manifest["artifacts"] == {"model.fixed.onnx": {"precision": "fp32", "shape": [1, 48, 64, 3]}}
    assert bundle.graph("fp32") == MODEL
    assert read_graph(bundle, "model.fixed.onnx")
    model = onnx.load(str(bundle.path / "model.fixed.onnx"))
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 48, 64, 3]


def admitted(miou: float, sure_disagreeing: int) -> None:
    comparison = Comparison("street", (1, 100, 100), sure_disagreeing, 0, 0.1, 5000, sure_disagreeing)
    agreement = Agreement("model.int8.onnx", "onnxruntime-cpu-int8", MODEL, (comparison,), {"camvid/val": miou})
    options = ExportOptions("checkpoint", Path("bundle"), min_miou_ratio=0.985, min_sure_agreement=0.99)
    _admit(agreement, {"camvid/val": {"miou": 0.4}}, options)


def test_a_lower_precision_is_refused_with_the_figure_that_is_too_low() -> None:
    admitted(0.3941, 50)
    with pytest.raises(ParityError, match=r"mIoU on camvid/val is 0\.39, model\.onnx has 0\.4; needed is 0\.985"):
        admitted(0.39, 50)
    with pytest.raises(ParityError, match=r"98\.980% of the pixels of which that is sure; needed are 99\.00%"):
        admitted(0.4, 51)
