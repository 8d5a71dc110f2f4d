"""Disks that are full or read-only, for as long as a test takes."""

import contextlib
import hashlib
import os
import pathlib
import subprocess

import pytest


def contents(directory: pathlib.Path) -> dict[str, str]:
    """What is under names that are no hidden ones, by a hash."""
    return {
        str(file.relative_to(directory)): hashlib.sha256(
            file.read_bytes()
        ).hexdigest()
        for file in sorted(directory.rglob("*"))
        if file.is_file() and ".part-" not in str(file)
    }


@contextlib.contextmanager
def mounted(directory: pathlib.Path, *arguments: str):
    """Mounts something there; skips where that is not permitted."""
    done = subprocess.run(
        ["mount", *arguments, str(directory)], capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"mount is not permitted: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def small_disk(directory: pathlib.Path, size: str):
    """A disk of its own, of so many bytes."""
    return mounted(directory, "-t", "tmpfs", "-o", f"size={size}", "tmpfs")


@contextlib.contextmanager
def read_only(directory: pathlib.Path):
    """A folder that nobody can write into."""
    if os.geteuid() != 0:
        directory.chmod(0o555)
        yield
        directory.chmod(0o755)
        return
    # Modes do not bind root.
    with mounted(directory, "--bind", str(directory)):
        again = ["mount", "-o", "remount,ro,bind", str(directory)]
        subprocess.run(again, check=True)
        yield
