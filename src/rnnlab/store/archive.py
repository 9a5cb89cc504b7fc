"""The archive that a checkpoint is, looked at without torch."""

import os
import zipfile
from typing import IO

FOLDER = 0x10
"""Among the attributes of a part, as MS-DOS had them."""


def check_archive(file: IO[bytes], sums: bool = True) -> None:
    """Holds an archive against its own table: a few bytes that stand for many would be unpacked.

    torch compresses nothing: no part is larger than its place in the file.

    Args:
        file: of which the beginning is to be read next.
        sums: hold every part against its sum, too, which torch itself does not: weights with a bit that fell over
            would be loaded as they are. It reads the whole file.

    Raises:
        zipfile.BadZipFile: it is none, or does not fit its table.
    """
    size = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts) or sum(p.file_size for p in parts) > size:
            raise zipfile.BadZipFile("its parts are compressed, or more than fits into it, and torch writes none such")
        if any(part.external_attr & FOLDER for part in parts):  # torch would take memory as it is for its content
            raise zipfile.BadZipFile("one of its parts is a folder, and torch writes none")
        broken = archive.testzip() if sums else None
    if broken is not None:
        raise zipfile.BadZipFile(f"the sum of {broken} does not fit")
    file.seek(0)
