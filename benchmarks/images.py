"""What the two images add to that of Python: packages with their bytecode, as installed and as trimmed.

`python -m benchmarks.images` installs what `requirements/` names into a folder, as the Dockerfile does, and
sums the bytes of its files; once as wheels bring them, once as `requirements/trim.py` leaves them. Run it by
the Python of the images.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

from requirements.trim import trim

ROOT = Path(__file__).parents[1]
_OURS = (ROOT / "runtime" / "piko", ROOT / "operator" / "piko_operator")


def install(image: str, folder: Path) -> None:
    """Put what the image `image` has of Python packages into `folder`, without bytecode."""
    subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-compile",
            ),
            *("--root-user-action=ignore", "--only-binary=:all:", "--no-deps", "--require-hashes"),
            *("--target", str(folder), "--requirement", str(ROOT / "requirements" / f"{image}.txt")),
        ],
        check=True,
    )
    for package in _OURS:
        shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))


def measured(folder: Path) -> str:
    """The size of `folder` once it has its bytecode, on disk and as the layer that a node pulls."""
    compiling = [sys.executable, "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([*compiling, str(folder)], check=True)
    whole = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
    layer = BytesIO()
    with tarfile.open(fileobj=layer, mode="w:gz", compresslevel=6) as archive:
        archive.add(folder, arcname=".")
    return f"{whole / 1e6:6.1f} MB on disk, {len(layer.getvalue()) / 1e6:5.1f} MB to pull"


def main() -> None:
    """Print the sizes of both images."""
    for image in ("runtime", "operator"):
        with tempfile.TemporaryDirectory() as there:
            whole, trimmed = Path(there, "whole"), Path(there, "trimmed")
            install(image, whole)
            shutil.copytree(whole, trimmed)
            trim(trimmed)
            print(f"piko-{image:8}  as installed: {measured(whole)}")
            print(f"piko-{image:8}  as trimmed:   {measured(trimmed)}")


if __name__ == "__main__":
    main()
