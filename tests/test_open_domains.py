"""What a run asks of its data before it begins: labels, their classes, and settings that fit together."""

from pathlib import Path

import pytest
import torch

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import CAMVID, CITYSCAPES, IGNORE_ID, translation
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_training.cli.train import parse_command
from adaptseg_training.config import DomainConfig
from adaptseg_training.data.domains import open_domain
from adaptseg_training.data.loading import SampleStream
from adaptseg_training.data.prepare import Preparer, label_table
from adaptseg_training.domains import open_domains, step_batches


@pytest.mark.parametrize(
    ("flags", "match"),
    [
        (
            ("--evaluate.dataset", "frames", "--evaluate.root", ".", "--evaluate.first", "0"),
            "--evaluate.dataset has no labels to score on",
        ),
        (("--label-set", "lava,ash"), "no translation from 'cityscapes' classes to 'lava,ash'"),
        (("--source.dataset", "frames", "--source.root", "."), "--source.dataset has no labels"),
    ],
)
def test_labels_that_a_run_will_want_are_asked_for_at_once(
    video: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], match: str
) -> None:
    monkeypatch.chdir(video.parent)
    with pytest.raises(ConfigError, match=match):
        open_domains(parse_command(["smoke", *flags])[1])


def test_who_has_no_labels_of_the_target_trains_without_scores() -> None:
    """Presets name the data set that they are scored on; not everybody has its labels, and no flag takes it away."""
    config = parse_command(["smoke", "--evaluate.dataset", "cityscapes"])[1]
    domains = open_domains(config)
    assert domains.evaluate is None
    assert domains.describe(config).endswith("nothing is scored (--evaluate.root is not given)")
    streets = parse_command(["smoke"])[1]
    assert "nothing is scored" not in open_domains(streets).describe(streets)


@pytest.mark.parametrize(
    ("flags", "wanted"), [((), False), (("--fourier=0.01",), True), (("--self-training.weight=1",), True)]
)
def test_a_target_comes_as_seen_only_where_somebody_looks(flags: tuple[str, ...], wanted: bool) -> None:
    config = parse_command(["smoke", "--run.workers=0", "--target.augment", *flags])[1]
    (batch,) = next(step_batches(config, open_domains(config), 0, pin=False, skipped=print))
    assert batch.target_images is not None
    assert (batch.target_seen is not None) == wanted
    if batch.target_seen is not None:
        assert batch.target_seen.shape == batch.target_images.shape
        assert not torch.equal(batch.target_seen, batch.target_images)


def test_scores_want_a_translation(camvid: Path) -> None:
    first = ("--evaluate.first", "0")
    flags = ("--evaluate.dataset", "camvid", "--evaluate.root", str(camvid), "--evaluate.split", "train")
    open_domains(parse_command(["smoke", *first, *flags])[1])
    own = camvid / "own.yaml"
    own.write_text("images: train/images/*.png\nlabels: train/labels/*.png\nclasses: [lava, ash]\nids: {1: lava}\n")
    flags = (*first, "--evaluate.dataset", "own", "--evaluate.root", str(own), "--evaluate.split", "")
    with pytest.raises(
        ConfigError, match=r"--evaluate\.dataset: no translation from 'cityscapes' classes to 'lava,ash'"
    ):
        open_domains(parse_command(["smoke", *flags])[1])


@pytest.mark.parametrize(
    ("domain", "match"),
    [
        (DomainConfig("camvid"), "--source.root is not set"),
        (DomainConfig("camvid", (Path("a"), Path("b"))), "one folder, 2 were given"),
        (DomainConfig("camvid", (Path("nowhere"),)), r"no folder nowhere"),
        (DomainConfig("frames", (Path("nowhere"),)), "no file or folder nowhere"),
        (DomainConfig("camvid", (Path(),), "noon"), "no split 'noon'"),
        (DomainConfig("streets", split="fog"), "unknown look fog"),
        (DomainConfig(first=-1), r"--source\.first is -1; it must be 0 or more"),
        (DomainConfig(every=0), r"--source\.every is 0; it must be 1 or more"),
        (DomainConfig(count=-2), r"--source\.count is -2; it must be 0 or more"),
        (DomainConfig("camvid", (Path("a"),), count=-1), r"--source\.count is -1; it must be 0 or more"),
        (DomainConfig(size=(0, 0)), r"--source\.size is 0 0; each number of it must be 32 or more"),
        (DomainConfig(size=(48, 96)), r"--source\.size 48 96: streets are drawn 64 x 64 or larger"),
        (DomainConfig(root=(Path("drive.mp4"),)), r"--source\.root drive\.mp4: streets .* --source\.dataset frames"),
    ],
)
def test_a_wrong_domain_is_a_sentence(domain: DomainConfig, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        open_domain(domain, "source")


@pytest.mark.parametrize("name", ["evaluate", "data"])
def test_scores_and_previews_skip_and_change_nothing(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--{name}.skip-unreadable: only training"):
        open_domain(DomainConfig(skip_unreadable=True), name)
    with pytest.raises(ConfigError, match=f"--{name}.augment: only training"):
        open_domain(DomainConfig(augment=True), name)


def test_an_image_without_its_label_map_is_named(camvid: Path) -> None:
    (camvid / "train/labels/0016E5_1.png").unlink()
    with pytest.raises(ConfigError, match=r"1 of 3 images have no label map.*0016E5_1\.png"):
        open_domain(DomainConfig("camvid", (camvid,)), "source")


def test_labels_of_other_classes_are_translated_or_refused(camvid: Path) -> None:
    streets = open_domain(DomainConfig("streets", size=(64, 96)), "source")
    preparer = Preparer(PreprocessSpec((64, 96)), False, label_table(streets, "camvid", "s"))
    pair = SampleStream(streets, preparer, 5)[0].pair
    assert pair is not None
    assert set(pair[1].unique().tolist()) <= {*range(len(CAMVID)), IGNORE_ID}
    with pytest.raises(ConfigError, match="has the camvid classes, --label-set is cityscapes"):
        label_table(open_domain(DomainConfig("camvid", (camvid,)), "source"), "cityscapes", "source")
    assert translation("cityscapes", "camvid")[CITYSCAPES.train_id("road")] == CAMVID.train_id("road")
