"""Weights from a web server: whole, checked, kept; everything else is a sentence and leaves nothing behind."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from adaptseg_serve.errors import ConfigError
from adaptseg_training.config import GeneratorConfig
from adaptseg_training.models import build_generator
from adaptseg_training.models.tensor_files import read_tensors

WEIGHTS = "weights of mine.safetensors"


class Files(http.server.SimpleHTTPRequestHandler):
    """The folder's files; cut.pth announces more bytes than it sends."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path != "/cut.pth":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 10)
        return None

    def log_message(self, *_: object) -> None: ...


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """(address of the server, paths it was asked for)"""
    asked: list[str] = []

    class Handler(Files):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]  # args passed on

    Handler.asked = asked
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    (tmp_path / "site").mkdir()
    save_file({"conv1.weight": torch.ones(2)}, tmp_path / "site" / WEIGHTS)
    return tmp_path / "site"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def cached(folder: Path) -> list[Path]:
    return sorted(p for p in (folder.parent / "cache").rglob("*") if p.is_file())


def test_a_file_is_fetched_once_and_checked_each_time(folder: Path) -> None:
    with serving(folder) as (site, asked):
        place = f"{site}/weights%20of%20mine.safetensors?from=here#sha256={digest(folder / WEIGHTS)}"
        for _ in range(2):
            assert torch.equal(read_tensors(place)["conv1.weight"], torch.ones(2))
        assert asked == ["/weights%20of%20mine.safetensors?from=here"]
    (kept,) = cached(folder)
    assert kept.name.endswith(f"-{WEIGHTS}")
    kept.write_bytes(kept.read_bytes() + b"x")
    with pytest.raises(ConfigError, match="delete it to fetch it again"):
        read_tensors(place)


def test_files_of_one_name_from_two_addresses_are_two(folder: Path) -> None:
    (folder / "other").mkdir()
    save_file({"conv1.weight": torch.zeros(2)}, folder / "other" / WEIGHTS)
    with serving(folder) as (site, _):
        for part in (Path(), Path("other")):
            place = f"{site}/{part}/{WEIGHTS.replace(' ', '%20')}#sha256={digest(folder / part / WEIGHTS)}"
            assert float(read_tensors(place)["conv1.weight"].sum()) == (0 if part.name else 2)
    assert len(cached(folder)) == 2


@pytest.mark.parametrize(
    ("path", "sha256", "match"),
    [
        ("/none.pth", "0" * 64, "404"),
        ("/cut.pth", "0" * 64, "10 of 1000 bytes arrived"),
        (f"/{WEIGHTS.replace(' ', '%20')}", "0" * 64, "its sha256 is"),
        ("/plain.pth", "", "is not https. Use https, or add the file's digest"),
        ("/plain.pth", "12ab", "must be sha256= and 64 hex digits"),
    ],
)
def test_what_does_not_arrive_whole_is_not_kept(folder: Path, path: str, sha256: str, match: str) -> None:
    with serving(folder) as (site, _), pytest.raises(ConfigError, match=match):
        read_tensors(f"{site}{path}" + (f"#sha256={sha256}" if sha256 else ""))
    assert cached(folder) == []


def test_a_site_that_is_not_there_says_what_to_do(folder: Path) -> None:
    with serving(folder) as (site, _):
        pass
    config = GeneratorConfig(weights=f"{site}/x.pth#sha256={'0' * 64}", resnet_layers=(1, 1, 1, 1))
    with pytest.raises(ConfigError, match=r"can't download .*--generator\.weights PATH"):
        build_generator(config, 19, aux=False)


def test_a_strange_file_is_read_as_carefully_as_a_local_one(folder: Path) -> None:
    (folder / "strange.pth").write_bytes(b"no tensors")
    with (
        serving(folder) as (site, _),
        pytest.raises(ConfigError, match=r"or is damaged \(Unsupp.*; delete it to fetch it again"),
    ):
        read_tensors(f"{site}/strange.pth#sha256={digest(folder / 'strange.pth')}")
