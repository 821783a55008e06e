"""What happens when a step can't be done: nothing of it stays, and the state before it is saved."""

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from adaptseg_training.adaptation import Adaptation
from adaptseg_training.batch import Batch
from adaptseg_training.errors import DataError, StepError, TrainingError
from adaptseg_training.run import Run
from adaptseg_training.state import save


def attempt(adaptation: Adaptation, step: int, batches: Sequence[Batch], device: torch.device) -> dict[str, float]:
    """`adaptation.step` on `device`; if its gradients fail on any rank, what else it moves is put back: batch norm's
    statistics and the class shares.

    Raises StepError where memory ran out. `adaptation.whole` is False if the update itself broke off.
    """
    moving = list(adaptation.generator.buffers()) if adaptation.moving_statistics() else []
    before = [buffer.clone() for buffer in moving]
    shares = None if adaptation.class_shares is None else adaptation.class_shares.state_dict()
    try:
        return adaptation.step(step, [batch.to(device) for batch in batches])
    except Exception as error:
        for buffer, value in zip(moving, before, strict=True):
            buffer.copy_(value)
        if adaptation.class_shares is not None and shares is not None:
            adaptation.class_shares.load_state_dict(shares)
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            line = str(error).splitlines()[0]
            raise StepError(
                f"torch.compile failed: {line}. On a CPU it needs a C++ compiler. Go on with --run.no-compile."
            ) from error
        if not _out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # they hold the activations: saving needs memory, too
        raise StepError(
            f"step {step + 1} ran out of memory: {str(error).splitlines()[0]} Use a smaller --run.batch-size with "
            "more --optimiser.accumulate, a smaller --source.size and --target.size, or --run.precision bf16."
        ) from None


@contextmanager
def observing(what: str) -> Iterator[None]:
    """Turns what ends `what` (a picture, a score) into a StepError: no weight has changed."""
    try:
        yield
    except DataError as error:
        raise StepError(f"{what} failed: {error}") from error
    except Exception as error:
        if not _out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
        raise StepError(
            f"{what} ran out of memory: {str(error).splitlines()[0]} Use a smaller --evaluate.size (without it: "
            "--target.size) or smaller images to score."
        ) from None


def end_of_run(run: Run, adaptation: Adaptation, done: int, error: Exception) -> TrainingError:
    """Save the state after `done` steps if it is good; `error` and where the state is, in one sentence. For rank 0."""
    if isinstance(error, TrainingError):  # it says so itself
        return error
    hint = " To leave such files out: --source.skip-unreadable or --target.skip-unreadable."
    hint = hint if isinstance(error, DataError) else ""
    return TrainingError(f"{error}{hint} {_rescued(run, adaptation, done)}")


def _rescued(run: Run, adaptation: Adaptation, done: int) -> str:
    if done == 0:
        return "Nothing was trained yet."
    if not adaptation.whole:
        return f"The update broke off; go on from the last checkpoint: {run.resume_command}"
    try:
        folder = save(run, adaptation, done)
    except TrainingError as failed:
        return str(failed)
    return f"The state after step {done} is saved in {folder}; go on with: {run.resume_command}"


_NO_MEMORY = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def _out_of_memory(error: Exception) -> bool:
    """PyTorch's allocator on CUDA has a type of its own for it; the CPU's, and CUDA's libraries, have sentences."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(said in str(error) for said in _NO_MEMORY)
