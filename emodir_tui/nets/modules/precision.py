"""Which devices compute in bfloat16 natively. Decided by what the device is, never by a timing: the same run, the same fronts."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

# Either has products of bfloat16 that sum in float32: in tiles (AMX), or in vectors (AVX-512, Zen 4 among others).
CPU_FLAGS = {"amx_bf16", "avx512_bf16"}
MIN_CUDA_CAPABILITY = (8, 0)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether layers run faster in bfloat16 here: a CPU with AMX or AVX-512's products of it, a GPU since Ampere."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= MIN_CUDA_CAPABILITY
    return device.type == "cpu" and bool(CPU_FLAGS & cpu_flags(Path("/proc/cpuinfo")))


def cpu_flags(file: Path) -> set[str]:
    """The instruction sets that Linux names of the first processor; none where it names none."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return set()
    return set(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Layers that sum run in this precision; in full precision a caller's autocast stays as it is."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)
