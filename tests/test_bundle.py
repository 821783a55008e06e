"""A bundle opens, or the error says which file or field is wrong and how to mend it."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.tiny_bundle import write_tiny_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adaptseg_export.writer import Record, check_place, write_bundle
from adaptseg_serve.bundle import MANIFEST, MODEL, open_bundle
from adaptseg_serve.bundle_files import MAX_MANIFEST_BYTES, file_record
from adaptseg_serve.errors import BundleError
from adaptseg_serve.labels import CAMVID, CITYSCAPES
from adaptseg_serve.preprocess import PreprocessSpec, reference_spec


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "tiny", labels=CAMVID)


def edit(folder: Path, **fields: Any) -> None:
    """Set top-level fields of the manifest; None removes one."""
    manifest = json.loads((folder / MANIFEST).read_text())
    for key, value in fields.items():
        if value is None:
            del manifest[key]
        else:
            manifest[key] = value
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_round_trip_keeps_labels_and_preprocessing(tmp_path: Path, folder: Path) -> None:
    record = Record(name="round", preprocess=reference_spec((360, 480)), labels=CITYSCAPES)
    write_bundle(tmp_path / "round", folder / MODEL, record)
    bundle = open_bundle(tmp_path / "round")
    assert bundle.preprocess == record.preprocess
    assert bundle.labels.classes == CITYSCAPES.classes
    assert bundle.name == "round"
    assert bundle.digest.startswith(bundle.version)


def test_the_version_changes_with_the_content(folder: Path) -> None:
    before = open_bundle(folder).version
    edit(folder, name="other")
    assert open_bundle(folder).version != before


@pytest.mark.parametrize("field", ["classes", "input", "baked", "files", "name", "metrics", "ignore_id"])
def test_a_missing_field_is_named(folder: Path, field: str) -> None:
    edit(folder, **{field: None})
    with pytest.raises(BundleError, match=field) as caught:
        open_bundle(folder)
    assert "adaptseg-export" in str(caught.value)


@pytest.mark.parametrize("change", [{"format": "zip"}, {"format_version": 2}, {"format_version": "1"}])
def test_an_unknown_format_is_refused(folder: Path, change: dict[str, Any]) -> None:
    edit(folder, **change)
    with pytest.raises(BundleError, match=next(iter(change))):
        open_bundle(folder)


def test_a_flipped_byte_is_a_wrong_checksum(folder: Path) -> None:
    model = bytearray((folder / MODEL).read_bytes())
    model[len(model) // 2] ^= 1
    (folder / MODEL).write_bytes(model)
    with pytest.raises(BundleError, match="wrong checksum"):
        open_bundle(folder)


def test_a_truncated_model_says_the_sizes(folder: Path) -> None:
    size = (folder / MODEL).stat().st_size
    with (folder / MODEL).open("r+b") as stream:
        stream.truncate(size - 1)
    with pytest.raises(BundleError, match=f"{size - 1} bytes.* says {size}"):
        open_bundle(folder)


def test_a_missing_model_is_named(folder: Path) -> None:
    (folder / MODEL).unlink()
    with pytest.raises(BundleError, match=r"model\.onnx is listed"):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["../evil", "/etc/hostname", "a/b", "", ".."])
def test_file_names_that_leave_the_folder_are_refused(folder: Path, name: str) -> None:
    files = json.loads((folder / MANIFEST).read_text())["files"]
    edit(folder, files={**files, name: files[MODEL]})
    with pytest.raises(BundleError, match="only plain file names"):
        open_bundle(folder)


def test_a_link_is_not_followed(folder: Path) -> None:
    (folder / MODEL).rename(folder.parent / "elsewhere.onnx")
    (folder / MODEL).symlink_to(folder.parent / "elsewhere.onnx")
    with pytest.raises(BundleError, match=r"symbolic link, .* cp -rL .*/tiny COPY"):
        open_bundle(folder)


def test_no_bundle_at_all_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="adaptseg-export CHECKPOINT"):
        open_bundle(tmp_path / "nowhere")
    with pytest.raises(BundleError, match=r"has no bundle\.json"):
        open_bundle(tmp_path)


def test_a_huge_manifest_is_not_read(folder: Path) -> None:
    with (folder / MANIFEST).open("a") as stream:
        stream.write(" " * MAX_MANIFEST_BYTES)
    with pytest.raises(BundleError, match="at most"):
        open_bundle(folder)


@pytest.mark.parametrize(
    "classes",
    [
        [],
        [{"train_id": 1, "name": "a", "color": [0, 0, 0], "label_id": 0}],
        [{"train_id": 0, "name": "a", "color": [0, 0, 256], "label_id": 0}],
        [{"train_id": 0, "name": "a", "color": [0, 0], "label_id": 0}],
        [{"name": "a"}],
        [7],
    ],
)
def test_malformed_classes_are_refused(folder: Path, classes: list[Any]) -> None:
    edit(folder, classes=classes)
    with pytest.raises(BundleError, match="missing or malformed"):
        open_bundle(folder)


@pytest.mark.parametrize(
    "artifacts",
    [
        [],
        {"absent.onnx": {"precision": "int8"}},
        {MODEL: {"precision": "int8"}},
        {"other.onnx": {"precision": "int4"}},
        {"other.onnx": {"precision": ["int8"]}},
        {"other.onnx": {"precision": "int8", "shape": [1, -1, 8, 3]}},
        {"other.onnx": 7},
    ],
)
def test_malformed_artifacts_are_refused(folder: Path, artifacts: Any) -> None:
    (folder / "other.onnx").write_bytes(b"x")
    files = {MODEL: file_record(folder / MODEL), "other.onnx": file_record(folder / "other.onnx")}
    edit(folder, files=files, artifacts={"other.onnx": {"precision": "int8"}})
    bundle = open_bundle(folder)
    assert (bundle.graph("int8"), bundle.graph("fp32")) == ("other.onnx", MODEL)
    with pytest.raises(BundleError, match="no fp16 graph, only fp32, int8"):
        bundle.graph("fp16")
    edit(folder, artifacts=artifacts)
    with pytest.raises(BundleError, match="artifacts"):
        open_bundle(folder)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_manifest_makes_anything_but_a_bundle_error(folder: Path, data: st.DataObject) -> None:
    original = (folder / MANIFEST).read_text()
    manifest = json.loads(original)
    field = data.draw(st.sampled_from(sorted(manifest)))
    nested = manifest[field]
    if isinstance(nested, dict) and nested and data.draw(st.booleans()):
        nested[data.draw(st.sampled_from(sorted(nested)))] = data.draw(json_values)
    else:
        manifest[field] = data.draw(json_values)
    try:
        (folder / MANIFEST).write_text(json.dumps(manifest))
        open_bundle(folder)
    except BundleError:
        pass
    finally:
        (folder / MANIFEST).write_text(original)
    assert open_bundle(folder).name == "tiny"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=200))
def test_no_bytes_make_anything_but_a_bundle_error(folder: Path, raw: bytes) -> None:
    original = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).write_bytes(raw)
    with pytest.raises(BundleError):
        open_bundle(folder)
    (folder / MANIFEST).write_bytes(original)


def test_writing_never_replaces_something_else(tmp_path: Path, folder: Path) -> None:
    record = Record(name="new", preprocess=PreprocessSpec((48, 64)), labels=CAMVID)
    with pytest.raises(BundleError, match="--overwrite"):
        write_bundle(folder, folder / MODEL, record)
    keep = tmp_path / "photos"
    keep.mkdir()
    (keep / "a.jpg").write_bytes(b"mine")
    with pytest.raises(BundleError, match="exists"):
        write_bundle(keep, folder / MODEL, record, overwrite=True)
    assert (keep / "a.jpg").read_bytes() == b"mine"


def test_what_could_not_be_swapped_is_refused_before_the_long_part(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "current"
    link.symlink_to(folder)
    with pytest.raises(BundleError, match="current is a link, which can't be replaced"):
        check_place(link, overwrite=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match="packaged names the packaged model"):
        check_place(Path("./packaged"), overwrite=False)


def test_a_bundle_that_could_not_be_replaced_is_back(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, rename = open_bundle(folder).version, Path.rename

    def fail_once(path: Path, target: Path) -> Path:
        if target == folder and "-old-" not in path.name:
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    record = Record(name="new", preprocess=PreprocessSpec((48, 64)), labels=CAMVID)
    with pytest.raises(OSError, match="No space"):
        write_bundle(folder, folder / MODEL, record, overwrite=True)
    assert open_bundle(folder).version == before
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]


def test_overwriting_leaves_one_whole_bundle_and_nothing_beside_it(tmp_path: Path, folder: Path) -> None:
    model = tmp_path / "copy.onnx"
    model.write_bytes((folder / MODEL).read_bytes())
    record = Record(name="new", preprocess=PreprocessSpec((48, 64)), labels=CAMVID)
    write_bundle(folder, model, record, overwrite=True)
    assert open_bundle(folder).name == "new"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy.onnx", "tiny"]
