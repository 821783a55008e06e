"""Names that a wheel's compiled module holds: `python tests/helpers/wheel_names.py WHEEL MODULE [PATTERN] > FILE`.

TensorRT's bindings and onnxruntime's GPU providers can't be loaded where the vendor's own libraries are missing, so
they are read as bytes. A name that is in no such module is in no release: that much can be known without a GPU.
MODULE is the end of its path: tensorrt.so, libonnxruntime_providers_cuda.so. PATTERN keeps the names that it matches.
"""

import json
import re
import sys
import zipfile
from pathlib import Path

HOW = (
    "Identifiers between NULs in the compiled module, of 3 characters and more, C++ symbols left out (pybind11 "
    "registers classes and methods by such strings, option tables are made of them), and what __init__.py defines. The "
    "linker keeps a string that ends another one inside it: a name is there if it is an entry or the end of one. "
    "'selections': the builder flags that choose a precision, by their docstrings."
)
_TEXT = re.compile(rb"(?<=\0)[A-Za-z_][A-Za-z0-9_]{2,}(?=\0)")
_SYMBOL = re.compile(r"nvinfer|nvonnx|pybind11|8tensorrt|St\d|NS_|GLIBC|CXX|_Z|^__(?!version)|^_?Py|gxx|^cu[A-Z]")
_DEFINED = re.compile(rb"^(?:def |class |)(\w+)(?=[(:]| = )", re.MULTILINE)
_SELECTION = re.compile(rb"Enable (\w+) layer selection")


def read(wheel: Path, module: str, pattern: str = "") -> dict[str, object]:
    """What is committed to tests/data."""
    with zipfile.ZipFile(wheel) as archive:
        entries = archive.namelist()
        data = archive.read(next(entry for entry in entries if entry.endswith(module)))
        start = [archive.read(entry) for entry in entries if entry.endswith("_bindings/__init__.py")]
    found = {text.decode() for text in _TEXT.findall(data)}
    found |= {
        name.decode()
        for text in start
        for name in re.findall(rb"^(?:def |class |)(\w+)(?=[(:]| = )", text, re.MULTILINE)
    }
    return {
        "wheel": " ".join(wheel.name.split("-")[:2]),
        "how": HOW,
        "selections": sorted(name.decode() for name in set(_SELECTION.findall(data))),
        "names": sorted(name for name in found if re.search(pattern, name) and not _SYMBOL.search(name)),
    }


if __name__ == "__main__":
    print(json.dumps(read(Path(sys.argv[1]), *sys.argv[2:]), indent=0))
