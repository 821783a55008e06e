"""Dilated depthwise convolutions laid into the batch: PyTorch's own are what they must equal."""

import pytest
import torch
from torch import Tensor, nn

from adaptseg_training.models.depthwise import DilatedDepthwise, undilate
from adaptseg_training.models.lite import Lite0

CHANNELS = 6


def _conv(side: int, dilation: int, bias: bool = True) -> nn.Conv2d:
    padding = dilation * (side // 2)
    conv = nn.Conv2d(CHANNELS, CHANNELS, side, padding=padding, dilation=dilation, groups=CHANNELS, bias=bias)
    return conv.double()


def _grads(conv: nn.Conv2d, images: Tensor) -> list[Tensor]:
    """The answer, and the gradients of its every value, weighted anew."""
    images = images.detach().clone().requires_grad_()
    answer = conv(images)
    weights = torch.randn(answer.shape, generator=torch.Generator().manual_seed(1), dtype=answer.dtype)
    return [answer, *torch.autograd.grad((answer * weights).sum(), [images, *conv.parameters()])]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("size", [(24, 32), (23, 30), (5, 1), (1, 1)], ids=str)
@pytest.mark.parametrize(
    "conv",
    [_conv(5, 4, bias=False), _conv(5, 2), _conv(3, 4, bias=False), _conv(3, 3), _conv(1, 2)],
    ids=["5x5, 4", "5x5, 2", "3x3, 4", "3x3, 3", "1x1, 2"],
)
def test_the_answer_and_every_gradient_are_pytorchs(
    conv: nn.Conv2d, size: tuple[int, int], layout: torch.memory_format
) -> None:
    images = torch.randn(3, CHANNELS, *size, dtype=torch.double).contiguous(memory_format=layout)
    made = DilatedDepthwise.like(conv)
    assert made is not None
    for ours, theirs in zip(_grads(made, images), _grads(conv, images), strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(6, 6, 3, padding=1, groups=6),
        nn.Conv2d(6, 6, 3, padding=2, dilation=2),
        nn.Conv2d(6, 12, 3, padding=2, dilation=2, groups=6),
        nn.Conv2d(6, 6, 3, padding=1, dilation=2, groups=6),
        nn.Conv2d(6, 6, 3, padding="same", dilation=2, groups=6),
        nn.Conv2d(6, 6, 3, 2, padding=2, dilation=2, groups=6),
        nn.Conv2d(6, 6, 4, padding=3, dilation=2, groups=6),
        nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6, padding_mode="reflect"),
        nn.Conv2d(6, 6, 3, padding=(1, 2), dilation=(1, 2), groups=6),
        nn.Conv2d(6, 6, (3, 5), padding=(2, 4), dilation=2, groups=6),
    ],
    ids=[
        "undilated",
        "dense",
        "multiplied",
        "shrinking",
        "padded by word",
        "strided",
        "even",
        "reflecting",
        "one way",
        "oblong",
    ],
)
def test_other_convolutions_stay(conv: nn.Conv2d) -> None:
    network = nn.Sequential(conv)
    undilate(network)
    assert network[0] is conv


def test_no_random_number_is_drawn() -> None:
    """Else the heads of a seed would start from other weights than without."""
    network, before = nn.Sequential(_conv(5, 4)), torch.get_rng_state()
    undilate(network)
    assert torch.equal(torch.get_rng_state(), before)


def test_lite0_computes_its_ten_so_and_keeps_its_parameters_and_answer() -> None:
    network = Lite0().eval()
    found = [m for m in network.modules() if isinstance(m, DilatedDepthwise)]
    assert len(found) == 10
    assert all(m.padding == (m.dilation[0] * (m.kernel_size[0] // 2),) * 2 for m in found)
    images = torch.randn(1, 3, 72, 104)
    with torch.no_grad():
        ours = network(images)
        for module in found:
            module.__class__ = nn.Conv2d  # type: ignore[assignment]  # back to its parent, whose forward is compared
        theirs = network(images)
    torch.testing.assert_close(ours.conv5, theirs.conv5, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.conv4, theirs.conv4, atol=1e-4, rtol=1e-4)


def test_a_parameter_is_shared_with_the_convolution_it_came_from() -> None:
    network = nn.Sequential(_conv(3, 2))
    before = network.state_dict(keep_vars=True)
    undilate(network)
    assert isinstance(network[0], DilatedDepthwise)
    assert all(tensor is before[name] for name, tensor in network.state_dict(keep_vars=True).items())


def test_a_compiled_network_computes_it_so_too() -> None:
    """Else --run.compile would be slower than a run without."""
    network, images = nn.Sequential(_conv(5, 4)), torch.randn(2, CHANNELS, 24, 32, dtype=torch.double)
    expected = network(images)
    undilate(network)
    seen: list[str] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        seen.append(graph.code)
        return graph.forward

    torch.testing.assert_close(torch.compile(network, backend=backend, fullgraph=True)(images), expected)
    assert "permute" in "".join(seen)


def test_an_exported_graph_has_the_convolution_as_it_is() -> None:
    network = nn.Sequential(_conv(5, 4))
    undilate(network)
    images = torch.randn(1, CHANNELS, 24, 32, dtype=torch.double)
    operators = [str(node.target) for node in torch.export.export(network, (images,)).graph.nodes]
    assert [name for name in operators if "aten" in name] == ["aten.conv2d.default"]
