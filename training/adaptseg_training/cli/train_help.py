"""What adaptseg-train prints of itself: the short help, the list of presets. tyro prints the whole help."""

import ast
import inspect
from itertools import groupby, zip_longest
from textwrap import shorten, wrap

from adaptseg_training import config as config_module
from adaptseg_training.config import TrainConfig
from adaptseg_training.presets import preset_header, preset_names

WIDTH = 116
_COLUMN = 36

USAGE = """adaptseg-train: adapt a segmenter to an unlabelled target domain

  adaptseg-train PRESET [--FLAG VALUE ...]   train; PRESET: a shipped name or a YAML file of yours; flags win over it
  adaptseg-train PRESET --dry-run            the plan, the data, memory and time by three real steps; writes nothing
  adaptseg-train PRESET --sweep FLAG=V1,V2   a run for each value, then a table; several --sweep: every combination
  adaptseg-train --run.resume RUN            go on with an interrupted run
  adaptseg-train --presets                   every preset: table and row of the paper, published mIoU
  adaptseg-train [PRESET] --help-all         every flag

To begin: smoke (a minute, needs nothing), demo (your own frames), gta5_to_cityscapes_multi_paper (Table 1).
Exit codes: 0 done, 1 failed, 2 wrong usage, 130 and 143 stopped by SIGINT and SIGTERM (the run is saved)."""

ESSENTIAL = {
    "method": (
        "label-set",
        "gan",
        "aux.seg-weight",
        "aux.adv-weight",
        "main.seg-weight",
        "main.adv-weight",
        "main.space",
        "balance-shares",
        "fourier",
        "self-training.weight",
    ),
    "generator": ("generator.backbone", "generator.weights", "generator.bn"),
    "optimiser": (
        "optimiser.lr",
        "optimiser.weight-decay",
        "optimiser.schedule-steps",
        "optimiser.accumulate",
        "optimiser.average",
    ),
    "data; --target.* and --evaluate.* have the same flags": (
        "source.dataset",
        "source.root",
        "source.split",
        "source.size",
        "source.augment",
    ),
    "run": (
        "run.name",
        "run.resume",
        "run.stop-step",
        "run.batch-size",
        "run.device",
        "run.precision",
        "run.workers",
        "run.seed",
        "run.checkpoint-every",
        "run.evaluate-every",
        "run.select",
    ),
}
"""The flags that most runs need, by heading."""


def short_help(config: TrainConfig) -> str:
    """Usage and the essential flags, with the values that `config` gives them."""
    lines = [USAGE]
    for heading, names in ESSENTIAL.items():
        lines += ["", f"{heading}:"]
        lines += [_line(name, config) for name in names]
    return "\n".join(lines)


def preset_list() -> str:
    """Every preset with what it reproduces, by data sets."""
    width = max(map(len, preset_names()))
    lines: list[str] = []
    for _, names in groupby(sorted(preset_names(), key=_family), key=_family):
        lines += ["", *(f"{name:{width}}  {_about(name)}" for name in names)]
    return "\n".join(lines[1:])


def _about(name: str) -> str:
    header = preset_header(name)
    return header.reproduces if header.reproduces[:1].isupper() else header.summary


def _family(name: str) -> tuple[bool, str]:
    """The data sets that a preset's name begins with; presets of the paper come first."""
    source, to, rest = name.partition("_to_")
    paper = name.endswith(("_paper", "_official", "_modern"))
    return (not paper, f"{source}{to}{rest.split('_')[0]}" if to else "")


def _line(name: str, config: TrainConfig) -> str:
    kind, value = _lookup(name, config)
    left = f"  --{name} {_show(value)}"
    text = _docs()[kind, name.rpartition(".")[2].replace("-", "_")]
    parts = wrap(shorten(text, 2 * (WIDTH - _COLUMN), placeholder=" ..."), WIDTH - _COLUMN)
    if len(left) >= _COLUMN:
        parts = ["", *parts]
    rows = zip_longest((left,), parts or [""], fillvalue="")
    return "\n".join(f"{head:{_COLUMN}}{part}".rstrip() for head, part in rows)


def _lookup(name: str, config: TrainConfig) -> tuple[str, object]:
    """The dataclass that a flag's setting belongs to, and its value."""
    owner: object = config
    *path, last = name.replace("-", "_").split(".")
    for part in path:
        owner = getattr(owner, part)
    return type(owner).__name__, getattr(owner, last)


def _show(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "-"
    return f"{value:g}" if isinstance(value, float) else str(value if value not in (None, "") else "-")


def _docs() -> dict[tuple[str, str], str]:
    """The docstring below each field of config.py, by class and field: the flags' only description."""
    docs: dict[tuple[str, str], str] = {}
    for node in ast.parse(inspect.getsource(config_module)).body:
        if isinstance(node, ast.ClassDef):
            for field, below in zip(node.body, [*node.body[1:], None], strict=True):
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    docs[node.name, field.target.id] = _text(below)
    return docs


def _text(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return str(node.value.value)
    return ""
