"""adaptseg-export writes a bundle that says what the generator says, or none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from helpers.checkpoints import LITE, SIZE, random_generator, write_checkpoint

from adaptseg_export.cli import main
from adaptseg_export.deployment import Deployment, MainLevel
from adaptseg_export.export import command_without_folders, without_folders
from adaptseg_export.graph import _store_half, write_graph
from adaptseg_export.labelled import name_of, open_labelled
from adaptseg_export.parity import Comparison, Parity, ParityError, compare, require
from adaptseg_export.probes import probes
from adaptseg_serve.bundle import MANIFEST, MODEL, open_bundle
from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import CITYSCAPES
from adaptseg_serve.predictor import load_predictor
from adaptseg_serve.preprocess import PreprocessSpec, efficientnet_lite_spec, reference_spec
from adaptseg_training.config import GeneratorConfig
from adaptseg_training.data.rendered import SCORED_COUNT
from adaptseg_training.errors import DataError
from adaptseg_training.models import Generator, build_generator

SAMPLES = Path(__file__).parents[1] / "adaptseg_serve" / "page" / "samples"

TINY_RESNET = GeneratorConfig(backbone="resnet101", resnet_layers=(1, 1, 2, 1), weights="none")


@pytest.fixture(scope="module")
def generator() -> Generator:
    return random_generator()


@pytest.fixture(scope="module")
def checkpoint(generator: Generator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), generator)


@pytest.fixture(scope="module")
def bundle(checkpoint: Path) -> Path:
    folder = checkpoint.parent / "exported"
    assert main([str(checkpoint), str(folder), "--note", "a note"]) == 0
    return folder


def test_unknown_class_offsets_are_refused_before_the_long_part(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(checkpoint), str(tmp_path / "b"), "--class-offsets", "sidewolk=1"]) != 0
    assert "perhaps you meant 'sidewalk'" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_the_bundle_records_where_it_comes_from(bundle: Path) -> None:
    opened = open_bundle(bundle)
    assert (opened.name, opened.preprocess.size, opened.labels.names) == ("exported", SIZE, CITYSCAPES.names)
    training = opened.manifest["training"]
    assert (training["preset"], training["step"], training["note"]) == ("smoke", 7, "a note")
    assert opened.manifest["parity"]["agreement"] >= 0.9999


def test_parity_is_a_file_in_the_bundle(bundle: Path) -> None:
    opened = open_bundle(bundle)
    found = opened.parity()["artifacts"][MODEL]
    assert found["against"].startswith("torch")
    assert found["agreement"] >= 0.9999
    assert found["disagreeing"] == found["ties"]
    assert all(sum(c["label_counts"]) == np.prod(c["shape"]) for c in found["comparisons"])
    assert len(opened.parity()["frames"]) == len(found["comparisons"])


def test_no_folder_of_the_exporting_machine_travels(bundle: Path) -> None:
    assert "/home/me" not in (bundle / MANIFEST).read_text()
    model = (bundle / MODEL).read_bytes()
    assert b".py" not in model, "stack traces of the exporter"


def test_only_what_is_a_path_loses_its_folders() -> None:
    settings = {"label_set": "road,car/van", "source": {"root": ["/data/a", "b/c"], "split": "rome/train"}}
    settings |= {"generator": {"weights": "/w/vgg.safetensors"}}
    assert without_folders(settings) == {
        "label_set": "road,car/van",
        "source": {"root": ["a", "c"], "split": "rome/train"},
        "generator": {"weights": "vgg.safetensors"},
    }
    command = "adaptseg-train /my/own.yaml --target.root=/data/frames --source.root /a/b c/d --source.split rome/train"
    expected = "adaptseg-train own.yaml --target.root=frames --source.root b d --source.split rome/train"
    assert command_without_folders(command) == expected


def test_a_score_of_the_training_is_none_of_the_graph(bundle: Path) -> None:
    opened = open_bundle(bundle)
    assert "during training" in opened.manifest["metrics"], "the checkpoint was scored"
    assert opened.parity()["artifacts"][MODEL]["miou"] == {}


def test_the_graph_is_self_contained_opset_18_without_the_aux_head(bundle: Path, generator: Generator) -> None:
    model = onnx.load(str(bundle / MODEL), load_external_data=False)
    assert [(o.domain, o.version) for o in model.opset_import if o.domain == ""] == [("", 18)]
    assert all(not weight.external_data for weight in model.graph.initializer)
    stored = sum(int(np.prod(weight.dims)) for weight in model.graph.initializer)
    aux = sum(p.numel() for name, p in generator.named_parameters() if name.startswith("aux"))
    assert stored < sum(p.numel() for p in generator.parameters()) - aux // 2


def test_convolutions_are_named_after_their_modules(bundle: Path, generator: Generator) -> None:
    """A profiler's or an engine inspector's row then says which layer it is of."""
    graph = onnx.load(bundle / MODEL).graph
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    modules = {name: module for name, module in generator.named_modules() if isinstance(module, torch.nn.Conv2d)}
    for node in convolutions:
        (shape,) = [tuple(weight.dims) for weight in graph.initializer if weight.name == node.input[1]]
        assert modules[node.name].weight.shape == shape, node.name
    assert len({node.name for node in convolutions}) == len(convolutions) == len(modules) - 4  # the aux head's are gone


def test_the_served_label_map_is_the_generators(bundle: Path, generator: Generator) -> None:
    opened = open_bundle(bundle)
    image = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    served = load_predictor(opened).predict(image[None], [(101, 77)])[0]
    with torch.inference_mode():
        logits = generator(torch.from_numpy(opened.preprocess.normalise(image))[None]).main
        scores = torch.nn.functional.interpolate(logits, (101, 77), mode="bilinear", align_corners=True)
    assert (served == scores[0].argmax(0).numpy()).mean() > 0.999


@pytest.mark.parametrize(
    ("config", "spec"),
    [(LITE, reference_spec(SIZE)), (TINY_RESNET, reference_spec(SIZE)), (TINY_RESNET, efficientnet_lite_spec(SIZE))],
    ids=["lite0-bgr", "resnet-bgr", "resnet-rgb"],
)
def test_every_generator_and_colour_order_agrees(config: GeneratorConfig, spec: PreprocessSpec, tmp_path: Path) -> None:
    """The light one with its own colours is `bundle`."""
    torch.manual_seed(0)
    deployment = Deployment(MainLevel(build_generator(config, 19, aux=False)), spec).eval()
    write_graph(deployment, tmp_path / "model.onnx")
    parity = compare(deployment, tmp_path / "model.onnx", probes(spec))
    require(parity)
    assert {c.shape[0] for c in parity.comparisons} == {1, 2, 3}


def test_a_graph_of_other_weights_is_refused(bundle: Path, generator: Generator) -> None:
    spec = open_bundle(bundle).preprocess
    shifted = Deployment(MainLevel(generator), replace(spec, mean=(90.0,) * 3)).eval()
    with pytest.raises(ParityError, match="No bundle was written"):
        require(compare(shifted, bundle / MODEL, probes(spec)))


@pytest.mark.parametrize(
    ("disagreeing", "ties", "passes"), [(0, 0, True), (9, 9, True), (9, 8, False), (200, 200, False)]
)
def test_only_ties_may_disagree_and_few_of_them(disagreeing: int, ties: int, passes: bool) -> None:
    parity = Parity((Comparison("probe", (1, 1000, 1000), disagreeing, ties, 1e-5),))
    assert parity.passed is passes


def test_fp16_weights_halve_the_file_and_hardly_move_the_logits(bundle: Path, tmp_path: Path) -> None:
    model = onnx.load(bundle / MODEL)
    _store_half(model.graph)
    onnx.save(model, tmp_path / MODEL)
    assert (tmp_path / MODEL).stat().st_size < 0.55 * (bundle / MODEL).stat().st_size
    images = np.random.default_rng(2).integers(0, 256, (1, *SIZE, 3), dtype=np.uint8)
    exact, half = (
        onnxruntime.InferenceSession(str(folder / MODEL)).run(["logits"], {"image": images})[0]
        for folder in (bundle, tmp_path)
    )
    assert 0 < np.abs(half - exact).max() < 5e-3 * np.abs(exact).max()


def test_an_existing_folder_is_kept(checkpoint: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (bundle / MANIFEST).read_bytes()
    assert main([str(checkpoint), str(bundle)]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (bundle / MANIFEST).read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        ("OUT", 1, "is a bundle already. Choose another name, or add --overwrite"),
        ("TAKEN", 1, "exists and is no bundle. Choose another name."),
        ("TAKEN --overwrite", 1, "exists and is no bundle. Choose another name."),
        ("FILE/bundle", 1, "can't be written: "),
        ("NEW --size 0 0", 2, "--size is 0 0; height and width must be 32 or more"),
        ("NEW --size -8 40", 2, "--size is -8 40"),
        (
            "NEW --size 4200 4200",
            2,
            "--size is 4200 4200; a bundle's input has at most 8192 a side and 16777216 in all",
        ),
        ("NEW --size 32 8224", 2, "at most 8192 a side"),
        ("NEW --name runs/best", 2, "no slash"),
        ("NEW --name " + "a" * 201, 2, "--name must have 1 to 200 printable characters"),
        ("NEW --precisions fp16 fp16 --score streets - day", 2, "--precisions fp16 fp16: name each once"),
        ("NEW --score frames TAKEN -", 2, "holds no image and no video"),
        ("NEW --score frames SAMPLES -", 2, "--score: this data set has no labels to score on"),
        ("NEW --precisions int8", 2, "add --score DATASET ROOT SPLIT"),
        ("NEW --baseline CHECKPOINT", 2, "--baseline is scored on the images of --score"),
        ("NEW --score camvid TAKEN val", 2, "taken/val/images. Expected: "),
        ("NEW --calibrate streets - -", 2, "--calibrate is for int8's ranges; add --precisions int8"),
        ("NEW --precisions int8 --score streets - - --calibrate frames nowhere -", 2, "no file or folder nowhere"),
        ("NEW --min-miou-ratio 98.5", 2, "--min-miou-ratio is 98.5; it is a share and must be from 0 to 1"),
        ("NEW --min-sure-agreement nan", 2, "--min-sure-agreement is nan"),
        ("NEW --score streets - day --baseline nowhere", 1, "nowhere is neither a checkpoint"),
        ("NEW --images nowhere", 2, "--images: nowhere does not exist"),
    ],
)
def test_what_can_not_be_is_refused_before_the_checkpoint_is_read(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: str, code: int, says: str
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_text("")
    for name in ("taken", "file", "new"):
        flags = flags.replace(name.upper(), str(tmp_path / name))
    flags = flags.replace("SAMPLES", str(SAMPLES))
    assert main(["no-checkpoint", *flags.replace("OUT", str(bundle)).split()]) == code
    said = capsys.readouterr().err
    assert says in said
    assert "no-checkpoint" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken"]


def test_an_interrupted_export_is_a_sentence_and_leaves_nothing(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("adaptseg_export.export.write_graph", interrupted)
    assert main([str(checkpoint), str(tmp_path / "bundle")]) == 130
    assert capsys.readouterr().err.endswith("adaptseg-export: interrupted\n")
    assert not list(tmp_path.iterdir())


def test_a_missing_checkpoint_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none"), str(tmp_path / "bundle")]) == 1
    assert "neither a checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


def test_images_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        list(probes(reference_spec(SIZE), [tmp_path / "no.jpg"]))
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bad\.jpg is not a readable image"):
        list(probes(reference_spec(SIZE), [tmp_path]))


def test_streets_to_score_on_are_drawn_and_few() -> None:
    assert len(open_labelled(("streets", Path("-"), "dusk"), "score")) == SCORED_COUNT
    assert len(open_labelled(("streets", Path("-"), "-"), "score")) == SCORED_COUNT
    assert (name_of(("own", Path("a.yaml"), "-")), name_of(("camvid", Path("c"), "val"))) == ("own", "camvid/val")
    with pytest.raises(ConfigError, match=r"--score streets data: .* ROOT must be -"):
        open_labelled(("streets", Path("data"), "day"), "score")
