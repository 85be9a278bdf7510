"""Numbers that look random and are the same on every replica, in every process, forever."""

from __future__ import annotations

from hashlib import blake2b

_SPAN = 1 << 64


def hashed_below(bound: int, *, salt: str) -> int:
    """A whole number from 0 to below `bound`, evenly spread over the values of `salt`."""
    digest = blake2b(salt.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") * bound // _SPAN


def fingerprint_of(*parts: object) -> str:
    """A hex text of 32 characters that is equal where the parts' texts are."""
    return blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
