"""Native bfloat16 support of devices, decided by the hardware and never by timing, so that runs are reproducible."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

# Both multiply bfloat16 and accumulate in float32: AMX in tiles, AVX-512 in vectors (also on Zen 4).
CPU_FLAGS = {"amx_bf16", "avx512_bf16"}
MIN_CUDA_CAPABILITY = (8, 0)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 natively: a CPU with AMX or AVX-512 BF16, a GPU from Ampere on."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= MIN_CUDA_CAPABILITY
    return device.type == "cpu" and bool(CPU_FLAGS & cpu_flags(Path("/proc/cpuinfo")))


def cpu_flags(file: Path) -> set[str]:
    """The instruction-set flags of the first processor in Linux's cpuinfo file; empty if it cannot be read."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return set()
    return set(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """torch.autocast for this precision; float32 leaves a caller's autocast unchanged."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)
