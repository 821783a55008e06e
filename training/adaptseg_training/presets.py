"""A preset is a file of flags you don't have to type: its YAML becomes argv ahead of the user's flags.

So there is one parser (tyro, in `parsing.py`), one validator and one style of error for both.
"""

from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_type_hints

import yaml

from adaptseg_serve.errors import ConfigError
from adaptseg_training.config import TrainConfig

FOLDER = Path(__file__).parent / "presets"


@dataclass(frozen=True)
class Header:
    """What a preset's opening comment says of it."""

    summary: str
    """Its first line."""
    reproduces: str
    """Table, row and published mIoU, or that nothing is published."""


def preset_names() -> tuple[str, ...]:
    """Names of the presets that ship with the package."""
    return tuple(sorted(p.stem for p in FOLDER.glob("*.yaml")))


def preset_path(name: str) -> Path:
    """The file of preset `name`, or `name` itself where it is a YAML file's path."""
    path = FOLDER / f"{name}.yaml"
    if path.is_file() and Path(name).name == name:
        return path
    if Path(name).suffix in {".yaml", ".yml"}:
        return Path(name)
    near = get_close_matches(name, preset_names(), n=3, cutoff=0.4)
    hint = f"Perhaps you meant {' or '.join(near)}?" if near else "adaptseg-train --presets lists them."
    raise ConfigError(f"there is no preset {name!r}. {hint} A file of your own must end in .yaml.")


def preset_header(name: str) -> Header:
    """What the opening comment of a preset that ships says: a summary, then a line 'Reproduces: ...'."""
    text = preset_path(name).read_text(encoding="utf-8")
    lines = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
    reproduces = next(line for line in lines if line.startswith("Reproduces:"))
    return Header(lines[0], reproduces.removeprefix("Reproduces:").strip())


def preset_flags(name: str) -> list[str]:
    """argv of a preset's or a YAML file's settings. ConfigError names the file and what is wrong in it."""
    path = preset_path(name)
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {path}.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} is not a YAML file of settings: {error}") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{path} must hold settings by name, as in 'main: {{adv_weight: 0.001}}'.")
    _check_names(path, settings, setting_names())
    return to_flags(settings)


def to_flags(settings: dict[str, Any], prefix: str = "") -> list[str]:
    """{"main": {"adv_weight": 0.001}} -> ["--main.adv-weight", "0.001"]; null and [] say nothing."""
    flags: list[str] = []
    for key, value in settings.items():
        name = f"{prefix}{key}".replace("_", "-")
        flags += to_flags(value, f"{name}.") if isinstance(value, dict) else _flag(name, value)
    return flags


def setting_names(kind: Any = TrainConfig, prefix: str = "") -> tuple[str, ...]:
    """Every setting by its full name: gan, main, main.adv_weight ..."""
    hints = get_type_hints(kind)
    names: list[str] = []
    for field in fields(kind):
        name = f"{prefix}{field.name}"
        names.append(name)
        inner = next((t for t in (hints[field.name], *get_args(hints[field.name])) if is_dataclass(t)), None)
        if isinstance(inner, type):
            names += setting_names(inner, f"{name}.")
    return tuple(names)


def _check_names(path: Path, settings: dict[Any, Any], known: tuple[str, ...], prefix: str = "") -> None:
    for key, value in settings.items():
        name = f"{prefix}{key}".replace("-", "_")
        if name not in known:
            raise ConfigError(f"{path}: there is no setting {prefix}{key}. {_hint(name, known)}")
        if any(other.startswith(f"{name}.") for other in known):
            if isinstance(value, dict):
                _check_names(path, value, known, f"{name}.")
            elif value is not None:
                raise ConfigError(f"{path}: {name} must hold settings by name, not {value!r}.")
        elif isinstance(value, dict):
            raise ConfigError(f"{path}: {name} takes one value, not settings by name.")


def _hint(name: str, known: tuple[str, ...]) -> str:
    """The settings spelt nearly like `name`, or like it but for where they belong."""
    last = name.rpartition(".")[2]
    near = [k for k in known if k.rpartition(".")[2] == last] + get_close_matches(name, known, n=3, cutoff=0.7)
    return f"Perhaps you meant {' or '.join(near)}?" if near else "adaptseg-train --help-all lists them."


def _flag(name: str, value: Any) -> list[str]:
    if value is None or value == []:
        return []
    if isinstance(value, bool):
        head, _, tail = name.rpartition(".")
        switch = tail if value else f"no-{tail}"
        return [f"--{head}.{switch}" if head else f"--{switch}"]
    values = value if isinstance(value, list) else [value]
    # "--name=value" keeps a value that starts with a dash a value; it takes one value only.
    return [f"--{name}={values[0]}"] if len(values) == 1 else [f"--{name}", *map(str, values)]
