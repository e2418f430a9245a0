"""Readings of this host's GPUs, through the NVIDIA driver."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One GPU: utilisation 0 to 100, memory in bytes, degrees Celsius."""

    index: int
    name: str
    utilisation: int
    memory_used: int
    memory_total: int
    temperature: int


class GpuReader:
    """Reads all GPUs. Without a GPU or driver it reads nothing and does not try again."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._count: int | None = None

    def read(self) -> tuple[Gpu, ...]:
        """Return the current readings."""
        if self._count is None:
            self._count = self._open()
        return tuple(gpu for index in range(self._count) if (gpu := self._one(index)) is not None)

    def _open(self) -> int:
        try:
            import pynvml  # imported only for a run on this host: it takes time

            pynvml.nvmlInit()
            self._nvml = pynvml
            return int(pynvml.nvmlDeviceGetCount())
        except Exception:
            # No library, driver or permission: the dashboard works without GPU readings.
            return 0

    def _one(self, index: int) -> Gpu | None:
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            name = nvml.nvmlDeviceGetName(handle)
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            return Gpu(
                index=index,
                name=name if isinstance(name, str) else name.decode("utf-8", "replace"),
                utilisation=int(nvml.nvmlDeviceGetUtilizationRates(handle).gpu),
                memory_used=int(memory.used),
                memory_total=int(memory.total),
                temperature=int(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            )
        except Exception:
            return None
