"""Going on when the device's memory does not hold a batch: the same work in smaller pieces."""

import ctypes
import gc
from collections.abc import Callable

import torch
from torch import Tensor

# Libraries that take memory of their own tell it in words. A convolution for which no algorithm's memory is there says that
# it finds no engine, and a handle without memory is not initialised.
WORDS = (
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "unable to find an engine",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDA error: out of memory",
    "CUDA driver error: out of memory",
    "DefaultCPUAllocator",
)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that the device's memory does not hold what was asked of it."""
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in WORDS)


def in_chunks(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """`function(inputs)`, in halves, quarters, … where the device's memory asks for it; [n, …] to [n, …].

    Only for functions that treat each image on its own.

    Raises:
        RuntimeError: A single image does not fit (`is_out_of_memory`), or whatever the function raises.
    """
    try:
        return function(inputs)
    except RuntimeError as error:
        if not is_out_of_memory(error) or len(inputs) == 1:
            raise
    release_cached_memory()
    half = len(inputs) // 2
    return torch.cat([in_chunks(function, inputs[:half]), in_chunks(function, inputs[half:])])


def release_cached_memory() -> None:
    """Give the device back what nothing uses any more. Traced networks are cycles, which only the collector finds."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def trim_heap() -> None:
    """Give the system back what the C library keeps of freed memory, where it can (glibc).

    Features of many different sizes come and go in a search; without this the heap grew to three times what is in use.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
