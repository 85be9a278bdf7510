"""Removes from installed packages what no pod reads: `python trim.py FOLDER`, before bytecode is made.

Sources in C and the tests of packages; and from shared libraries the symbols of debuggers, which stand behind
all that is loaded and are most of some wheels. The image has no `strip`, and this needs none: what a process
maps of a library is what its program headers name, and the rest of the file is cut off. A file that is not
laid out like that stays as it is.
"""

from __future__ import annotations

import shutil
import struct
import sys
from pathlib import Path

_SOURCES = frozenset({".c", ".cpp", ".h", ".pxd", ".pyx"})
_ELF_64_LITTLE = b"\x7fELF\x02\x01"
_SHORTEST = 64


def trim(folder: Path) -> int:
    """Remove it below `folder`; returns how many bytes that were."""
    before = _size(folder)
    for path in sorted(folder.rglob("tests")):
        if path.is_dir() and (path.parent / "__init__.py").exists():
            shutil.rmtree(path)
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        if path.suffix in _SOURCES:
            path.unlink()
        elif ".so" in path.suffixes:
            path.write_bytes(loaded_part(path.read_bytes()))
    return before - _size(folder)


def loaded_part(library: bytes) -> bytes:
    """What a process can map of an ELF library: its segments, without the table of sections behind them."""
    if len(library) < _SHORTEST or not library.startswith(_ELF_64_LITTLE):
        return library
    [program_headers, sections] = struct.unpack_from("<QQ", library, 32)
    [size, number] = struct.unpack_from("<HH", library, 54)
    segments = [
        struct.unpack_from("<Q16xQ", library, program_headers + index * size + 8) for index in range(number)
    ]
    end = max([program_headers + size * number, *(offset + length for offset, length in segments)])
    if sections < end:
        return library
    header = bytearray(library[:end])
    struct.pack_into("<Q", header, 40, 0)  # where the table of sections is
    struct.pack_into("<HHH", header, 58, 0, 0, 0)  # how large, how many, and which of them has their names
    return bytes(header)


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    print(f"trimmed {trim(Path(sys.argv[1])) / 1e6:.1f} MB of {sys.argv[1]}")
