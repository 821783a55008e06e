"""Every hyper-parameter, as frozen dataclasses: the only home of their names, defaults and meanings.

tyro turns these into the command line, and the attribute docstrings below into its help. A preset is a YAML
file of the same names. Nothing here imports torch, so `--help` is quick. Numbers are the paper's (Tsai et al.,
CVPR 2018) unless a comment says otherwise.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Backbone = Literal["resnet101", "vgg16", "lite0"]
BatchNormMode = Literal["reference", "frozen"]
Gan = Literal["vanilla", "ls"]
Space = Literal["output", "feature", "entropy"]
Select = Literal["miou", "infomax"]
Precision = Literal["fp32", "tf32", "bf16"]
Normalisation = Literal["auto", "caffe", "torchvision", "lite"]


@dataclass(frozen=True)
class GeneratorConfig:
    """DeepLab-v2: a dilated backbone of output stride 8 and one ASPP head per level."""

    backbone: Backbone = "resnet101"
    """resnet101 and vgg16 are the paper's; lite0 (EfficientNet-Lite0, 3 M parameters) is for CPUs and edge."""
    resnet_layers: tuple[int, int, int, int] = (3, 4, 23, 3)
    """Blocks per ResNet stage; other values are for tests."""
    aspp_branches: Literal[2, 4] = 4
    """Dilations 6, 12, 18, 24 (the paper), or 6 and 12 only (what the reference code computes)."""
    detail: bool = False
    """lite0's: the main level is corrected by features at a quarter of the image's size: poles, signs, people."""
    bn: BatchNormMode = "frozen"
    """frozen: statistics stay as pretrained. reference: they follow source and target batches (reference code)."""
    weights: str = "imagenet"
    """imagenet (from an installed package or torchvision), none, packaged (the packaged model; lite0) or the folder of
    another bundle, or a weights file: path or https://...#sha256=..."""
    normalisation: Normalisation = "auto"
    """Colour order, mean and std the weights want; auto: caffe for resnet101 from a file, else torchvision or lite."""


@dataclass(frozen=True)
class LevelConfig:
    """One output level of eq. 5: its weight in the segmentation loss and in the adversarial loss."""

    seg_weight: float = 0.0
    """lambda_seg of this level."""
    adv_weight: float = 0.0
    """lambda_adv of this level; 0 builds no discriminator."""
    space: Space = "output"
    """What D sees. output: probs, the paper's way. feature: the head's input. entropy: ADVENT's information maps."""


@dataclass(frozen=True)
class SelfTrainingConfig:
    """Pseudo-labels of a slowly moving teacher on images mixed from both domains (DACS, Tranheden et al. 2021)."""

    weight: float = 0.0
    """Of the loss on mixed images; 0 switches self-training off."""
    teacher_momentum: float = 0.99
    """The teacher keeps this share of its weights at every step; it is what is evaluated and exported."""
    confident: float = 0.968
    """A target image's pseudo-labels weigh as much as the share of its pixels that the teacher is so sure of."""


@dataclass(frozen=True)
class OptimiserConfig:
    """SGD (or AdamW) for the generator, Adam for the discriminators, all on the poly schedule."""

    algorithm: Literal["sgd", "adamw"] = "sgd"
    """The generator's: sgd, the paper's. adamw brings light backbones several times further in as many steps."""
    lr: float = 2.5e-4
    """Learning rate of the backbone."""
    head_lr_factor: float = 10.0
    """The heads learn this many times faster."""
    momentum: float = 0.9
    """Of SGD."""
    weight_decay: float = 5e-4
    """Reference code; the paper says 1e-4. AdamW's is decoupled from the gradient: 0.01 is usual."""
    nesterov: bool = False
    """Of SGD. Reference code: no; the paper: yes."""
    param_groups: Literal["dedup", "legacy"] = "dedup"
    """legacy repeats ResNet's convolutions in the optimiser as the reference code does (effective lr x3 to x4)."""
    discriminator_lr: float = 1e-4
    """Of the discriminators' Adam."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Of the discriminators' Adam; AdamW has PyTorch's own."""
    power: float = 0.9
    """lr(step) = lr * (1 - step / schedule_steps) ** power."""
    schedule_steps: int = 250_000
    """Length of the poly schedule."""
    average: float = 0.0
    """Share that a moving average of the generator's weights keeps at every step, e.g. 0.995; the average is then what
    is evaluated and exported. 0: the weights as they are. Self-training has its teacher for that."""
    accumulate: int = 1
    """Batches per step whose gradients are averaged."""
    fused: bool = True
    """One kernel updates all parameters, with the same result to rounding; no: PyTorch's own choice of several."""


Dataset = Literal[
    "streets",
    "gta5",
    "synthia",
    "synscapes",
    "cityscapes",
    "cross_city",
    "camvid",
    "synthetic_streets",
    "own",
    "frames",
]


NO_SIZE = (0, 0)
"""In place of a size: none was given."""


@dataclass(frozen=True)
class DomainConfig:
    """Where the images of one domain come from."""

    dataset: Dataset = "streets"
    """streets: drawn on the fly. frames: unlabelled images, videos. own: by a YAML file. Others: as archives unpack."""
    root: tuple[Path, ...] = ()
    """Folder of the data set; own: its YAML file; frames: any number of folders, images, videos; streets: none."""
    split: str = ""
    """train, val, test; cross_city: rome/test; camvid: also day, dusk; streets: looks. If not given: train (gta5: all),
    and to be scored val where there is one."""
    first: int = 0
    """Leave out the images before this one (streets: the first seed)."""
    every: int = 1
    """Take every k-th image or video frame."""
    count: int = 0
    """At most so many images; 0: all there are (streets: 100 000; to score on: 200)."""
    size: tuple[int, int] = (360, 480)
    """(height, width) of the training images and of drawn streets; of evaluate: that the network is asked at, now and
    when exported (0 0: the target's, else the source's)."""
    augment: bool = False
    """Random flip, crop, colour, gamma, shade, blur, noise, JPEG; the paper uses none."""
    skip_unreadable: bool = False
    """Of source and target: name and count an unreadable file and go on with another, which else ends the run."""


def data_name(dataset: str, split: str) -> str:
    """What results call a part of a data set: camvid/val, or own where there are no splits."""
    return f"{dataset}/{split}" if split else dataset


@dataclass(frozen=True)
class RunConfig:
    """One run: length, place, pace of its checkpoints and pictures."""

    dir: Path = Path("runs")
    """Folder of all runs; this one gets a folder of its own inside."""
    name: str = ""
    """Name of the run's folder; if empty the preset's name, with a number from the second run on."""
    resume: Path | None = None
    """Folder of an interrupted run to go on with, under its own config; other flags still count."""
    stop_step: int = 150_000
    """Last step; may be less than optimiser.schedule_steps, as in the paper."""
    batch_size: int = 1
    """Images per domain and batch, of all processes together: torchrun shares them out, and the training stays the same
    (but which classes self-training mixes, and `bn: reference`'s statistics, are each process's own)."""
    seed: int = 1234
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 ...; under torchrun each process takes the GPU of its number."""
    precision: Precision = "fp32"
    """tf32: convolutions round their inputs to TF32 (CUDA). bf16: networks compute in bfloat16, losses in fp32."""
    compile: bool = False
    """torch.compile the generator: minutes at the start, then faster steps."""
    deterministic: bool = False
    """The same bits again from the same seed on CUDA, too, at some cost. On the CPU they always are."""
    workers: int = 2
    """Processes per domain that decode or render images; 0 does it in the main one."""
    log_every: int = 10
    """Steps between two rows of scalars.csv and TensorBoard."""
    checkpoint_every: int = 1000
    """Steps between two checkpoints."""
    keep: int = 3
    """Checkpoints kept besides the best one."""
    preview_every: int = 500
    """Steps between two pictures of target predictions; 0 draws none."""
    evaluate_every: int = 0
    """Steps between two evaluations; 0 only at the end. The best checkpoint by `select` is kept."""
    select: Select = "miou"
    """miou: on `evaluate`. infomax: on the unlabelled target (label_free.py says what it is worth)."""


@dataclass(frozen=True)
class TrainConfig:
    """A training run, whole. Weights of 0 switch a level or its adaptation off."""

    label_set: str = "cityscapes"
    """The generator's classes: cityscapes (19), synthia (16), cross-city (13), camvid (11); or names: road,car."""
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    aux: LevelConfig = field(default_factory=lambda: LevelConfig(seg_weight=0.1, adv_weight=0.0002))
    """conv4's level."""
    main: LevelConfig = field(default_factory=lambda: LevelConfig(seg_weight=1.0, adv_weight=0.001))
    """conv5's level, the one used at test time."""
    gan: Gan = "vanilla"
    """vanilla: eq. 2 and 4, binary cross-entropy. ls: eq. 7 and 8, least squares."""
    balance_shares: float = 1.0
    """Weigh source patches in D's loss, up to so many times more or less, e.g. 4, so that the source has the target's
    class shares and D doesn't teach its own (class_shares.py); 1: all count alike, the paper's way."""
    fourier: float = 0.0
    """FDA: source images take the target's amplitudes up to this share of the spectrum, e.g. 0.01; 0: as they are."""
    self_training: SelfTrainingConfig = field(default_factory=SelfTrainingConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    source: DomainConfig = field(default_factory=DomainConfig)
    """Labelled images."""
    target: DomainConfig | None = None
    """Unlabelled images to adapt to; none trains on the source alone."""
    evaluate: DomainConfig | None = None
    """Labelled images to score on."""
    run: RunConfig = field(default_factory=RunConfig)
