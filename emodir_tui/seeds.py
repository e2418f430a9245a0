"""Where every random draw gets its seed."""

from hashlib import sha256


def derive_seed(seed: int, *parts: str | int) -> int:
    """A 63-bit seed that depends on the profile's seed and on the place that draws, and on nothing else.

    So the order in which devices finish, or an interruption, changes no draw.
    """
    text = "/".join(str(part) for part in (seed, *parts))
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> 1
