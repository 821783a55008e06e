"""Your own data, described by a short YAML file, which is the data set's root:

    images: frames/*.jpg           # a glob, from the YAML file's folder or absolute; **/ reaches into folders
    labels: masks/*.png            # the same wildcards, in the same order; leave it out for unlabelled images
    label_set: cityscapes          # or cross-city, synthia, camvid; or classes: [road, sidewalk, car] of your own
    ids: {1: road, 2: sidewalk, 9: ignore}       # a number in the label files: its class

`ids: train_ids` if the numbers are those of the label set's classes, from 0 in their order; `ids: label_ids` if they
are the label set's official ones (Cityscapes: 7 road ... 33 bicycle). Coloured label files have `colors` in
place of `ids`: {"#804080": road, "#000000": ignore}. Classes of your own are trained with --label-set
road,sidewalk,car; a source that has other classes beside these (GTA5) is translated by their names.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import LABEL_SETS, OFFICIAL_IDS, LabelIds, LabelSet, find_label_set
from adaptseg_training.data.colors import MOST, ColorReader, parse_color
from adaptseg_training.data.globs import counterpart, find_files, is_glob, wildcards
from adaptseg_training.data.listing import Labels, Listing
from adaptseg_training.data.sample import only_images

IGNORE = "ignore"
_KEYS = ("images", "labels", "label_set", "classes", "ids", "colors")


@dataclass(frozen=True)
class _Own:
    """The YAML file at `path`, read."""

    path: Path
    settings: dict[str, Any]

    def error(self, what: str) -> ConfigError:
        return ConfigError(f"{self.path}: {what}")

    def text(self, key: str) -> str:
        """The value of `key`, which must be text."""
        value = self.settings[key]
        if not isinstance(value, str) or not value:
            raise self.error(f"{key} must be text, it is {value!r}.")
        return value

    def glob(self, key: str) -> str:
        """The value of `key`, which must be a glob of files."""
        value = self.text(key)
        if not is_glob(value):
            raise self.error(f"{key}: {value} is no glob of files; wildcards are **/, * and ?, as in frames/**/*.jpg.")
        return value


def list_own(root: Path, split: str) -> Listing:
    """The files that the YAML file `root` describes. ConfigError names the file and the key that is wrong."""
    if split:
        raise ConfigError(f"own data has no splits; {split!r} was asked for. Write one YAML file for each part.")
    own = _read(root)
    glob = own.glob("images")
    images = tuple(only_images(find_files(root.parent, glob)))
    if not images:
        raise own.error(f"no image matches images: {glob} (looked from {root.parent.absolute()}).")
    if "labels" not in own.settings:
        return Listing(images)
    return Listing(images, _labels(own, images, glob, own.glob("labels")))


def _read(path: Path) -> _Own:
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} is not a readable YAML file of own data: {error}") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{path} must hold settings by name, as in 'images: frames/*.jpg'.")
    own = _Own(path, settings)
    for key in settings:
        if key not in _KEYS:
            raise own.error(f"there is no key {key!r}. {_nearest(str(key), _KEYS)}")
    if "images" not in settings:
        raise own.error("images is missing; it says which files are the images, as in 'images: frames/*.jpg'.")
    if "labels" not in settings and len(settings) > 1:
        raise own.error(f"{', '.join(k for k in settings if k != 'images')} can't be used without labels.")
    return own


def _labels(own: _Own, images: tuple[Path, ...], glob: str, labels: str) -> Labels:
    if wildcards(glob) != wildcards(labels):
        raise own.error(
            f"images: {glob} and labels: {labels} must have the same wildcards in the same order; "
            "what those of the one match is put in place of the other's."
        )
    folder = own.path.parent
    paths = tuple(counterpart(folder, image, glob, labels) for image in images)
    present = frozenset(only_images(find_files(folder, labels)))
    label_set = _label_set(own)
    if ("ids" in own.settings) == ("colors" in own.settings):
        raise own.error("give either ids (numbers in the label files) or colors, as in 'ids: {1: road, 2: sidewalk}'.")
    if "colors" in own.settings:
        names = _by_class(own, "colors", label_set)
        colors = ColorReader(_colors(own, names))
        ids = dict(enumerate(names.values()))
        return Labels(paths, present, _ids(label_set, ids), colors, describe=colors.unknown)
    return Labels(paths, present, _number_ids(own, label_set))


def _label_set(own: _Own) -> LabelSet:
    if ("label_set" in own.settings) == ("classes" in own.settings):
        raise own.error(f"give either label_set ({', '.join(LABEL_SETS)}) or classes, as in 'classes: [road, car]'.")
    if "classes" in own.settings:
        classes = own.settings["classes"]
        if not isinstance(classes, list) or not all(isinstance(name, str) and "," not in name for name in classes):
            raise own.error(f"classes must list names, as in [road, sidewalk, car]; it is {classes!r}.")
        name = ",".join(classes)
    else:
        name = own.text("label_set")
    try:
        return find_label_set(name)
    except ValueError as error:
        raise own.error(f"{error}.") from error


def _number_ids(own: _Own, label_set: LabelSet) -> LabelIds:
    match own.settings["ids"]:
        case "train_ids":
            return LabelIds(label_set.name, {c.train_id: c.train_id for c in label_set.classes})
        case "label_ids":
            return OFFICIAL_IDS.get(label_set.name) or LabelIds(label_set.name, label_set.id_map)
    names = _by_class(own, "ids", label_set)
    for number in names:
        if not isinstance(number, int) or not 0 <= number <= 255:
            raise own.error(f"ids: {number!r} is no number from 0 to 255.")
    return _ids(label_set, names)


def _ids(label_set: LabelSet, train_ids: dict[int, int | None]) -> LabelIds:
    """`train_ids` by label id, None for those to ignore."""
    id_map = {number: train_id for number, train_id in train_ids.items() if train_id is not None}
    return LabelIds(label_set.name, id_map, frozenset(train_ids) - frozenset(id_map))


def _by_class(own: _Own, key: str, label_set: LabelSet) -> dict[Any, int | None]:
    """The mapping at `key`, its class names as train ids; None for those to ignore."""
    mapping = own.settings[key]
    if not isinstance(mapping, dict) or not mapping:
        raise own.error(f"{key} must map what is in the label files to class names, as in {{1: road}}.")
    for name in mapping.values():
        if name != IGNORE and name not in label_set.names:
            near = _nearest(str(name), (*label_set.names, IGNORE))
            raise own.error(f"{key}: {label_set.name} has no class {name!r}. {near}")
    return {k: None if name == IGNORE else label_set.train_id(name) for k, name in mapping.items()}


def _colors(own: _Own, texts: Iterable[object]) -> list[tuple[int, int, int]]:
    colors: list[tuple[int, int, int]] = []
    for text in texts:
        color = parse_color(str(text))
        if color is None:
            raise own.error(f'colors: {text!r} is no colour; write it as "#804080", in quotation marks.')
        if color in colors:
            raise own.error(f"colors: {text!r} is there twice.")
        colors.append(color)
    if len(colors) > MOST:
        raise own.error(f"colors: there are {len(colors)}, {MOST} at most can be told apart.")
    return colors


def _nearest(name: str, names: tuple[str, ...]) -> str:
    near = get_close_matches(name, names, n=2, cutoff=0.6)
    return f"Perhaps you meant {' or '.join(near)}?" if near else f"There are {', '.join(names)}."
