"""What the Open Inference Protocol tells of the server and its one model, in the protocol's JSON.

The gRPC door parses the same into messages, so both doors say one thing.
"""

from functools import lru_cache
from typing import Any

from adaptseg_serve._version import __version__
from adaptseg_serve.bundle import Bundle
from adaptseg_serve.errors import NotFound
from adaptseg_serve.oip import INPUT, OUTPUT
from adaptseg_serve.segmenter import Segmenter

ALIAS = "segmenter"
"""A name that every bundle answers to, beside its own: a client that uses it survives a change of bundle."""
PLATFORM = "adaptseg_bundle"
INPUT_SHAPE, OUTPUT_SHAPE = (-1, -1, -1, 3), (-1, -1, -1)
SERVER = {
    "name": "adaptseg-serve",
    "version": __version__,
    "extensions": ["binary_tensor_data", "model_configuration", "statistics"],
}


def model_version(bundle: Bundle) -> str:
    """The bundle's version as a decimal number: Triton's versions are numbers, and perf_analyzer ends at a letter."""
    return _decimal(bundle.version)


@lru_cache(maxsize=4)
def _decimal(version: str) -> str:
    return str(int(version, 16))


def check_model(segmenter: Segmenter, name: str, version: str = "") -> None:
    """Raise NotFound unless `name` and `version` ("": any; decimal, or the bundle's own) are the served bundle's."""
    bundle = segmenter.bundle
    if name not in (bundle.name, ALIAS):
        raise NotFound(f"There is no model {name!r}; this server has {bundle.name!r} (also called {ALIAS!r}).")
    known = model_version(bundle)
    if version not in ("", known, bundle.version):
        raise NotFound(f"Model {name!r} has no version {version!r}; it has {known!r}. Leave it out for any.")


def is_here(segmenter: Segmenter, name: str, version: str = "") -> bool:
    """Is `name` in `version` the served bundle? See `check_model`."""
    try:
        check_model(segmenter, name, version)
    except NotFound:
        return False
    return True


def metadata(segmenter: Segmenter) -> dict[str, Any]:
    return {
        "name": segmenter.bundle.name,
        "versions": [model_version(segmenter.bundle)],
        "platform": PLATFORM,
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": list(INPUT_SHAPE)}],
        "outputs": [{"name": OUTPUT, "datatype": "UINT8", "shape": list(OUTPUT_SHAPE)}],
    }


def config(segmenter: Segmenter) -> dict[str, Any]:
    """Dimensions without the batch's, as Triton tells them."""
    settings = segmenter.settings
    return {
        "name": segmenter.bundle.name,
        "platform": PLATFORM,
        "max_batch_size": settings.max_batch,
        "input": [{"name": INPUT, "data_type": "TYPE_UINT8", "dims": list(INPUT_SHAPE[1:])}],
        "output": [{"name": OUTPUT, "data_type": "TYPE_UINT8", "dims": list(OUTPUT_SHAPE[1:])}],
        "dynamic_batching": {"max_queue_delay_microseconds": round(settings.max_delay * 1e6)},
    }


def statistics(segmenter: Segmenter) -> dict[str, Any]:
    """Images and runs of the network are those of every door, since they share batches; the rest is OIP's alone."""
    one = {
        "name": segmenter.bundle.name,
        "version": model_version(segmenter.bundle),
        "inference_count": segmenter.metrics.images,
        "execution_count": segmenter.metrics.executions,
        **segmenter.statistics.document(),
    }
    return {"model_stats": [one]}
