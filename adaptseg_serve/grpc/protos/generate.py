"""Generate adaptseg_serve/grpc/stubs from the .proto files: `python -m adaptseg_serve.grpc.protos.generate`."""

import re
import shutil
import sys
from importlib.resources import files
from pathlib import Path

PROTOS = Path(__file__).parent
STUBS = PROTOS.parent / "stubs"
PACKAGE = "adaptseg_serve.grpc.stubs"

_STUB_IMPORT = re.compile(r"^(?:from ([\w.]+) )?import (\w+_pb2)(?= as )", re.MULTILINE)


def generate(out: Path = STUBS) -> None:
    """Write *_pb2.py, *_pb2.pyi and *_pb2_grpc.py of every .proto file to `out`; what was there is removed."""
    try:
        from grpc_tools import protoc
    except ModuleNotFoundError as error:
        raise SystemExit("grpcio-tools is missing. Install the development tools: make env") from error
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    protos = sorted(str(p.relative_to(PROTOS)) for p in PROTOS.rglob("*.proto"))
    includes = [f"-I{PROTOS}", f"-I{files('grpc_tools') / '_proto'}"]
    outputs = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
    if protoc.main(["protoc", *includes, *outputs, *protos]) != 0:
        raise SystemExit("protoc failed; its message is above.")
    for path in out.rglob("*_pb2_grpc.py"):
        _finish(path)
    for folder in (out, *(p for p in out.rglob("*") if p.is_dir())):
        (folder / "__init__.py").touch()


def _finish(path: Path) -> None:
    """protoc imports stubs as top-level modules; ours live in a package. Files without a service go."""
    text = path.read_text()
    if "Servicer" not in text:
        path.unlink()
        return
    path.write_text(_STUB_IMPORT.sub(_qualified, text))


def _qualified(match: re.Match[str]) -> str:
    package, module = match.groups()
    return f"from {PACKAGE}{'.' + package if package else ''} import {module}"


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else STUBS)
