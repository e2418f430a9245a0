import platform
from pathlib import Path

import pytest

from emodir_tui.training.memory import is_out_of_memory, trim_heap


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", True),
        ("CUDA driver error: out of memory", True),
        ("CUDA error: an illegal memory access was encountered", False),
    ],
)
def test_what_libraries_say_of_memory_is_understood(words, expected):
    assert is_out_of_memory(RuntimeError(words)) is expected


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back on demand")
def test_freed_memory_below_what_is_still_used_goes_back_to_the_system():
    # Blocks below glibc's threshold for mappings of their own; the last one holds the heap's end where it is.
    blocks = [bytes([index % 251]) * 100_000 for index in range(2000)]
    last = blocks[-1]
    blocks.clear()
    held = resident()
    trim_heap()
    assert held - resident() > 100e6
    assert len(last) == 100_000
