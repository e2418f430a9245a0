"""Files that emodir did not write: weights, arrays, images.

Only regular files up to a size are opened, and whatever their parser raises becomes one sentence. Parsers of other
libraries raise what they like on damaged bytes, so there is no list of exceptions here.
"""

import errno
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from emodir_tui.errors import EmodirError, ProfileError, first_line
from emodir_tui.formatting import size
from emodir_tui.runs.reading import open_regular

# An archive that unpacks to more than this, and to so many times its size, holds no data.
BOMB_BYTES, BOMB_RATIO = 256 << 20, 200


@contextmanager
def foreign_file(place: object, what: str, hint: str = "") -> Iterator[None]:
    """Turn whatever is raised inside into one sentence, except errors that are sentences already.

    Args:
        place: The file, with the profile's key in front if there is one.
        what: What it should be, with its article.
        hint: What the user can do.

    Raises:
        ProfileError: Something was raised inside, exhausted memory included.
    """
    try:
        yield
    except EmodirError:
        raise
    except MemoryError as error:
        raise ProfileError(f"{place} cannot be read as {what}: there is not enough memory for it", hint) from error
    except Exception as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or first_line(error)
        raise ProfileError(f"{place} cannot be read as {what} ({reason})", hint) from error


def open_foreign(path: Path, limit: int) -> BinaryIO:
    """Open a regular file, or a link to one, of at most `limit` bytes. Raises OSError."""
    file = open_regular(path, follow=True)
    if os.fstat(file.fileno()).st_size > limit:
        file.close()
        raise OSError(errno.EFBIG, f"it has more than {size(limit)}", str(path))
    return file


def check_archive(archive: zipfile.ZipFile, place: object, limit: int) -> None:
    """Check what a zip archive unpacks to, before anything is unpacked.

    Raises:
        ProfileError: That is more than `limit` bytes, or so much more than the archive's size that it holds no data.
    """
    unpacked = sum(entry.file_size for entry in archive.infolist())
    packed = sum(entry.compress_size for entry in archive.infolist())
    if unpacked > limit or (unpacked > BOMB_BYTES and unpacked > BOMB_RATIO * packed):
        raise ProfileError(f"{place} unpacks to {size(unpacked)} from {size(packed)}, so it is not read")
