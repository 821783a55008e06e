"""The bundle: a directory with `model.onnx` and `bundle.json`, opened and checked here.

The format is specified in docs/bundle-format.md. A bundle is data: nothing in it is ever executed or
unpickled, and sizes and digests are checked before any parser sees a file (`bundle_files`).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptseg_serve.bundle_files import MANIFEST as MANIFEST
from adaptseg_serve.bundle_files import check_files, read_listed, read_small
from adaptseg_serve.errors import BundleError
from adaptseg_serve.labels import LabelSet
from adaptseg_serve.manifest import HEADS as HEADS
from adaptseg_serve.manifest import MODEL as MODEL
from adaptseg_serve.manifest import PARITY as PARITY
from adaptseg_serve.manifest import Precision as Precision
from adaptseg_serve.manifest import check_artifacts, is_parity, parse_json, parse_manifest, read_labels, read_preprocess
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_serve.reference import Reference, read_reference


@dataclass(frozen=True)
class Bundle:
    """An opened, verified bundle. `manifest` is bundle.json as read; the rest are its parts, typed."""

    path: Path
    digest: str
    """sha256 (hex) of bundle.json, which itself holds the digest of every file: the model's version."""
    preprocess: PreprocessSpec
    labels: LabelSet
    manifest: dict[str, Any]
    reference: Reference | None = None
    """What it saw on its validation images; None where the export had none."""

    @property
    def name(self) -> str:
        return str(self.manifest["name"])

    @property
    def version(self) -> str:
        """The first 12 hex digits of `digest`: short enough for a header, long enough to tell bundles apart."""
        return self.digest[:12]

    @property
    def model_path(self) -> Path:
        return self.path / MODEL

    @property
    def graphs(self) -> dict[str, Precision]:
        """Every graph's file name and precision: model.onnx, and those that `artifacts` of the manifest adds."""
        extra: dict[str, Any] = self.manifest.get("artifacts", {})
        return {MODEL: "fp32", **{name: record["precision"] for name, record in extra.items()}}

    def graph(self, precision: Precision) -> str:
        """File name of the graph that computes in `precision`, for any shape; BundleError if there is none."""
        extra: dict[str, Any] = self.manifest.get("artifacts", {})
        for name, found in self.graphs.items():
            if found == precision and "shape" not in extra.get(name, {}):
                return name
        raise BundleError(
            f"{self.path} has no {precision} graph, only {', '.join(sorted(set(self.graphs.values())))}. Add it: "
            f"adaptseg-export CHECKPOINT {self.path} --overwrite --precisions {precision} --score DATASET ROOT SPLIT"
        )

    def read(self, name: str) -> bytes:
        """File `name` of the manifest's `files`, read once, with the digest checked at opening; BundleError if not."""
        return read_listed(self.path, name, self.manifest["files"])

    def parity(self) -> dict[str, Any]:
        """parity.json as read; {} in a bundle of a release that wrote none. BundleError where it is damaged."""
        if PARITY not in self.manifest["files"]:
            return {}
        found = parse_json(self.read(PARITY), self.path / PARITY)
        if not is_parity(found):
            raise BundleError(f"{self.path / PARITY} is not what docs/bundle-format.md says. Export it again.")
        return dict(found)


def packaged_bundle() -> Path:
    """Directory of the adapted model that ships with the package."""
    return Path(__file__).parent / "bundles" / "streets-lite"


PACKAGED_NAME = "packaged"
"""Names the packaged model in place of a bundle's directory."""


def open_bundle(path: str | Path) -> Bundle:
    """Read and verify the bundle in directory `path`, or the packaged one, by the name "packaged".

    Raises BundleError, saying which file or field is wrong and how to mend it.
    """
    folder = packaged_bundle() if str(path) == PACKAGED_NAME else Path(path)
    raw = _read_manifest(folder)
    manifest = parse_manifest(raw, folder)
    if MODEL not in manifest["files"]:
        raise BundleError(f"{folder / MANIFEST}: 'files' does not list {MODEL}. Export the checkpoint again.")
    check_files(folder, manifest["files"])
    check_artifacts(folder, manifest)
    try:
        return Bundle(
            path=folder,
            digest=hashlib.sha256(raw).hexdigest(),
            preprocess=read_preprocess(manifest),
            labels=read_labels(manifest),
            manifest=manifest,
            reference=read_reference(manifest.get("reference"), len(manifest["classes"])),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BundleError(
            f"{folder / MANIFEST}: a field is missing or malformed ({error!r}); "
            "docs/bundle-format.md lists them. Export the checkpoint again with adaptseg-export."
        ) from error


def manifest_digest(path: Path) -> str | None:
    """sha256 (hex) of the manifest in directory `path`; None while there is nothing to read."""
    try:
        return hashlib.sha256(read_small(path / MANIFEST)).hexdigest()
    except BundleError:
        return None


def _read_manifest(folder: Path) -> bytes:
    path = folder / MANIFEST
    if not path.is_file():
        found = "it is not a directory" if not folder.is_dir() else f"it has no {MANIFEST}"
        raise BundleError(f"{folder} is not a bundle: {found}. Make one: adaptseg-export CHECKPOINT {folder}")
    return read_small(path)
