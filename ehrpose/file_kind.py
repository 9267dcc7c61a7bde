"""What a file is that is not a model: a Git-LFS pointer, a web page, an archive or a file of another program.

Checkpoints, exported networks with their descriptions, and zoo weights are all checked with it (no torch).
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

_HEAD = 1024
_SHOWN = 40
_MODEL = ": pass it as the model, without weights"
# First bytes, and what a file that begins with them is.
_MAGIC = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes it"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x1f\x8b", "a gzip archive: unpack it and pass the file in it"),
    (b"BZh", "a bzip2 archive: unpack it and pass the file in it"),
    (b"\xfd7zXZ\0", "an xz archive: unpack it and pass the file in it"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive: unpack it and pass the file in it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it and pass the file in it"),
    (b"Rar!", "a RAR archive: unpack it and pass the file in it"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GGUF", "a GGUF model"),
    (b"ftrt", f"a TensorRT engine{_MODEL}"),
)
_WEB_PAGE = ("<!doctype html", "<html", "<head", "<body", "<script", "<meta", "<!--")
_LFS = (b"version https://git-lfs.github.com/", b"version https://hawser.github.com/")
_REFUSED = re.compile(r"[Uu]nsupported (?:global: GLOBAL|GLOBAL|class) ([\w.]+)")
_UNPICKLING = re.compile(r"WeightsUnpickler error:(.*)")
_ADVICE = re.compile(r"weights.only|torch\.load|safe_globals|trust", re.IGNORECASE)
_WEIGHTS = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")


def foreign_kind(path: Path) -> str | None:
    """Say what a file is, ready to follow its name, unless it may be one of ``torch.save`` or safetensors.

    Args:
        path: An existing file.

    Returns:
        ``"is a Git-LFS pointer (133 bytes) ..."``, or None.
    """
    kind = stand_in(path)
    if kind:
        return kind
    head = _head(path)
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(path)
    text = _text(head)
    return _binary_kind(head) or (
        f"is text, it begins with {_first_line(text)}: expected a file of torch.save or safetensors"
        if text
        else None
    )


def stand_in(path: Path) -> str | None:
    """Say what a file is, ready to follow its name, if it stands in place of any other: a download that failed.

    Args:
        path: An existing file.

    Returns:
        ``"is a Git-LFS pointer (133 bytes) ..."``, likewise for git-annex, a web page, nothing and zeros; or None.
    """
    head, size = _head(path), path.stat().st_size
    if not head:
        return "is empty (0 bytes): copy or download it again"
    if head.startswith(_LFS):
        return f"is a Git-LFS pointer ({size} bytes), not the file itself: fetch that with git lfs pull"
    if head.startswith(b"/annex/objects/"):
        return f"is a git-annex pointer ({size} bytes), not the file itself: fetch that with git annex get"
    if not head.strip(b"\0"):
        return "begins with nothing but zeros: copy or download it again"
    text = _text(head)
    if text.lower().startswith(_WEB_PAGE) or (text.startswith("<?xml") and "<html" in text.lower()):
        return f"is a web page, it begins with {_first_line(text)}: download the file itself, not the page about it"
    return None


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors: the length of its JSON, and the JSON."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
    return len(head) > 9 and 2 <= int.from_bytes(head[:8], "little") <= size - 8 and head[8:9] == b"{"


def is_torch_file(path: Path) -> bool:
    """Whether a file begins as one of ``torch.save``: a zip archive, or a pickle in the old format."""
    with path.open("rb") as file:
        return file.read(4).startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"))


def explain(filename: Path, error: Exception) -> str:
    """Return the message for a file that ``torch.load`` refused with an error."""
    refused = _REFUSED.search(str(error))
    if refused:
        return (
            f"{filename} is refused: it refers to {refused.group(1)}, but only tensors and plain data are loaded, "
            "since anything else could run code. If you trust it, save only its state_dict() and load that"
        )
    return f"{filename} is not a checkpoint, or is truncated: {_reason(error)}"


def _reason(error: Exception) -> str:
    """Return an error's reason, without torch's advice to load the file unsafely or to allow more classes."""
    text = str(error).strip() or type(error).__name__
    unpickling = _UNPICKLING.search(text)
    reason = unpickling.group(1).strip() if unpickling else text.splitlines()[0]
    return type(error).__name__ if not reason or _ADVICE.search(reason) else reason


def _zip_kind(path: Path) -> str | None:
    from ehrpose.archives import ArchiveError, open_archive  # loaded for zip files only

    try:
        with open_archive(path) as archive:
            names = archive.namelist()
    except ArchiveError as error:
        if " is refused: " in str(error):
            return str(error)[len(str(path)) + 1 :]
        return f"is truncated or damaged ({path.stat().st_size} bytes): copy or download it again"
    except (NotImplementedError, OSError, ValueError, struct.error):
        return f"is truncated or damaged ({path.stat().st_size} bytes): copy or download it again"
    ends = {name.rsplit("/", 1)[-1] for name in names}
    if "constants.pkl" in ends:
        return "is a TorchScript model, expected weights: save the state_dict() of the model it was made from"
    if {"archive_format", "archive_version"} & ends:
        return f"is an exported program (.pt2){_MODEL}"
    if "data.pkl" in ends:
        return None
    if names and all(name.endswith(".npy") for name in names):
        return "is a NumPy archive (.npz), expected a file of torch.save"
    inside = next((name for name in names if name.endswith(_WEIGHTS)), None)
    if inside is not None:
        return f"is a zip archive that contains {inside}: unpack it and pass that file"
    listed = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"is a zip archive with {listed or 'nothing in it'}, expected a file of torch.save"


def _binary_kind(head: bytes) -> str | None:
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return f"is {kind}" if ":" in kind else f"is {kind}, expected a file of torch.save"
    if head[257:262] == b"ustar":
        return "is a tar archive: unpack it and pass the file in it"
    if head[4:8] == b"TFL3":
        return "is a TensorFlow Lite model, expected a file of torch.save"
    if head[:1] == b"\x08" and head[2:3] == b"\x12" and b"pytorch" in head[:32]:
        return f"is an ONNX model{_MODEL}"
    return None


def _text(head: bytes) -> str:
    """Return the text of a file's first bytes without space around it; empty if it is not text."""
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    text = head.decode(encoding, errors="ignore").strip()
    cut = len(head) - len(head.decode("utf-8", errors="ignore").encode())
    is_text = encoding == "utf-16" or cut <= 3
    return text if is_text and all(letter.isprintable() or letter.isspace() for letter in text) else ""


def _first_line(text: str) -> str:
    first = text.splitlines()[0]
    return repr(first if len(first) <= _SHOWN else f"{first[:_SHOWN]}...")
