"""adaptseg_serve: what runs at serving time. Importing it loads neither torch nor onnxruntime."""

from adaptseg_serve._version import __version__
from adaptseg_serve.bundle import Bundle, open_bundle
from adaptseg_serve.errors import AdaptSegError, BundleError
from adaptseg_serve.labels import IGNORE_ID, LabelClass, LabelMap, LabelSet
from adaptseg_serve.preprocess import PreprocessSpec

__all__ = [
    "IGNORE_ID",
    "AdaptSegError",
    "Bundle",
    "BundleError",
    "LabelClass",
    "LabelMap",
    "LabelSet",
    "PreprocessSpec",
    "__version__",
    "open_bundle",
]
