"""Checkpoints by their id on the hub, where the optional extra [hub] is installed."""

from __future__ import annotations

import pathlib
import re

_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.spm")


def _library():
    try:
        import huggingface_hub
    except ImportError:
        return None
    return huggingface_hub


def local(init: str) -> str:
    """Return a folder for `init`: itself where it is one, else what its id names.

    Raises:
        ValueError: an id without the extra [hub], or one that cannot be fetched.
    """
    if not _ID.fullmatch(init) or pathlib.Path(init).exists():
        return init
    library = _library()
    if library is None:
        raise ValueError(
            f"init={init!r} is no folder; to fetch it as an id install the extra [hub] "
            "(pip install 'lmtasks[hub]'), or give the folder of a checkpoint"
        )
    try:
        return library.snapshot_download(init, allow_patterns=_FILES)
    # The library's errors have no common kind.
    except Exception as error:  # noqa: BLE001
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"init={init!r} cannot be fetched: {reason}") from None


def push(folder: pathlib.Path, name: str) -> str:
    """Upload an exported directory as the model `name`; return its address.

    Raises:
        ValueError: without the extra [hub], or when the upload is refused.
    """
    library = _library()
    if library is None:
        raise ValueError(
            "--push needs the extra [hub]: pip install 'lmtasks[hub]'; the files are "
            f"in {folder}"
        )
    try:
        client = library.HfApi()
        client.create_repo(name, exist_ok=True)
        return str(client.upload_folder(repo_id=name, folder_path=folder))
    # The library's errors have no common kind.
    except Exception as error:  # noqa: BLE001
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"--push={name} failed: {reason}") from None
