"""Recovery from exhausted memory: detection, smaller batches, release of cached memory."""

import ctypes
import gc
from collections.abc import Callable

import torch
from torch import Tensor

# cuDNN and cuBLAS report exhausted memory only in the message text: "unable to find an engine" for a convolution, "not
# initialized" for a handle.
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
    """Whether an error means that the device's memory is exhausted."""
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in WORDS)


def in_chunks(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Compute `function(inputs)`, [n, …] to [n, …], in halves, quarters and so on if memory runs out.

    Only for functions that process each image independently.

    Raises:
        RuntimeError: A single image does not fit (`is_out_of_memory`), or the function fails for another reason.
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
    """Free unused memory of the device. Traced networks are reference cycles, which only the collector finds."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def trim_heap() -> None:
    """Return freed memory from the C library to the system, if it can (glibc).

    A search allocates features of many sizes; without this the heap grew to three times the memory in use.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
