"""A preset is a file of flags you don't have to type: its YAML becomes argv ahead of the user's flags.

So there is one parser (tyro, in `parsing.py`), one validator and one style of error for both.
"""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from adaptseg_serve.errors import ConfigError

FOLDER = Path(__file__).parent / "presets"


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
    hint = f"Perhaps you meant {' or '.join(near)}?" if near else "adaptseg-train --help lists them."
    raise ConfigError(f"there is no preset {name!r}. {hint} A file of your own must end in .yaml.")


def preset_summary(name: str) -> str:
    """The first line of a preset's header comment."""
    with preset_path(name).open(encoding="utf-8") as stream:
        return stream.readline().lstrip("# ").strip()


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
    return to_flags(settings)


def to_flags(settings: dict[str, Any], prefix: str = "") -> list[str]:
    """{"main": {"adv_weight": 0.001}} -> ["--main.adv-weight", "0.001"]; null and [] say nothing."""
    flags: list[str] = []
    for key, value in settings.items():
        name = f"{prefix}{key}".replace("_", "-")
        flags += to_flags(value, f"{name}.") if isinstance(value, dict) else _flag(name, value)
    return flags


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
