"""Pairs of files by two globs: what the wildcards of the one matched is put in place of the other's.

images: frames/*/*.jpg      frames/monday/0001.jpg
labels: masks/*/*_ids.png   masks/monday/0001_ids.png
"""

import re
from pathlib import Path

_WILDCARD = re.compile(r"\*\*/|\*|\?")
_MATCHES = {"**/": r"((?:[^/]+/)*)", "*": r"([^/]*)", "?": r"([^/])"}


def wildcards(glob: str) -> list[str]:
    """The wildcards of a glob in their order: `**/` (folders, also none), `*` and `?`."""
    return _WILDCARD.findall(glob)


def is_glob(glob: str) -> bool:
    """Whether its only wildcards are those of `wildcards`; folders before the first of them may hold brackets."""
    parts = _parts(glob)
    if not parts or parts[-1] in ("/", "..", "**"):
        return False
    return not any("[" in part or ("**" in part and part != "**") for part in parts[_fixed(parts) :])


def find_files(folder: Path, glob: str) -> list[Path]:
    """Files that match `glob`, relative to `folder` or absolute, by name."""
    base, pattern = _split(folder, glob)
    return sorted(p for p in base.glob(pattern) if p.is_file()) if base.is_dir() else []


def counterpart(folder: Path, file: Path, glob: str, other: str) -> Path:
    """`other` with its wildcards replaced by what those of `glob` match in `file`; both have the same wildcards."""
    base, pattern = _split(folder, glob)
    expression, end = "", 0
    for wildcard in _WILDCARD.finditer(pattern):
        expression += re.escape(pattern[end : wildcard.start()]) + _MATCHES[wildcard.group()]
        end = wildcard.end()
    found = re.fullmatch(expression + re.escape(pattern[end:]), file.relative_to(base).as_posix())
    assert found is not None, f"{file} was not found by {glob}"
    texts = iter(found.groups())
    return folder / _WILDCARD.sub(lambda wildcard: next(texts), other)


def _split(folder: Path, glob: str) -> tuple[Path, str]:
    """The folder that holds all of a glob's files, and the rest of the glob."""
    parts = _parts(glob)
    return folder.joinpath(*parts[: _fixed(parts)]), "/".join(parts[_fixed(parts) :])


def _parts(glob: str) -> tuple[str, ...]:
    return Path(glob).parts


def _fixed(parts: tuple[str, ...]) -> int:
    """How many folders come before the first wildcard."""
    return next((n for n, part in enumerate(parts) if _WILDCARD.search(part)), len(parts) - 1)
