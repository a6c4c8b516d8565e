"""Vietnamese speech for tests: espeak-ng says sentences, which become parquet shards."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow
import pyarrow.parquet

SENTENCES = (
    "Xin chào quý khách.",
    "Hôm nay trời đẹp quá!",
    "Tôi có thể giúp gì cho bạn?",
    "Cảm ơn anh đã gọi điện.",
    "Vui lòng chờ trong giây lát.",
    "Chúng tôi mở cửa lúc 8 giờ sáng.",
    "Giá vé là 150.000 đồng.",
    "Bạn muốn đặt lịch ngày nào?",
)
ESPEAK = shutil.which("espeak-ng")
NO_ESPEAK = "espeak-ng is not installed (Debian package espeak-ng): no Vietnamese speech to test on"


@dataclass(frozen=True, slots=True)
class Speaker:
    """A variant of espeak-ng's Vietnamese."""

    name: str
    voice: str = "vi"
    pitch: int = 50


SPEAKERS = (
    Speaker("Ái_Hòa"),
    Speaker("Minh", "vi-vn-x-south", 30),
    Speaker("Lan", "vi-vn-x-central", 70),
    Speaker("Tú", "vi+f2", 60),
)


def say(text: str, speaker: Speaker = SPEAKERS[0]) -> bytes:
    """A WAV file, 22 050 Hz, with half a second of silence at its end."""
    if ESPEAK is None:
        raise RuntimeError(NO_ESPEAK)
    command = [ESPEAK, "-v", speaker.voice, "-p", str(speaker.pitch), "--stdout", text]
    return subprocess.run(command, check=True, capture_output=True, timeout=20).stdout


def write_shard(path: Path, rows: Sequence[tuple[bytes, str, str]], row_group: int = 4) -> None:
    """Write rows of (audio file, text, speaker) as phoaudiobook has them."""
    audio = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = pyarrow.table(
        {
            "audio": pyarrow.array([{"bytes": data, "path": None} for data, _, _ in rows], audio),
            "text": [text for _, text, _ in rows],
            "speaker": [speaker for _, _, speaker in rows],
        }
    )
    pyarrow.parquet.write_table(table, path, row_group_size=row_group)
