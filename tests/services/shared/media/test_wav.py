import io
import wave

import numpy as np
import pytest

from services.shared.media.decode import decode_audio
from services.shared.media.wav import wav_bytes, wav_header


def test_complete_file_is_what_the_standard_library_reads() -> None:
    samples = np.array([0.0, 0.5, -1.0], np.float32)
    with wave.open(io.BytesIO(wav_bytes(samples, 22_050))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 22_050)
        assert file.getnframes() == 3
        assert file.readframes(3) == b"\x00\x00\x00\x40\x00\x80"


def test_sizes_of_a_complete_file() -> None:
    data = wav_bytes(np.zeros(10, np.float32), 8000)
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    assert int.from_bytes(data[40:44], "little") == len(data) - 44 == 20


def test_a_stream_of_unknown_length_says_so_and_decodes() -> None:
    header = wav_header(16_000, None)
    assert header[4:8] == header[40:44] == b"\xff\xff\xff\xff"
    samples = decode_audio(header + b"\x00\x40" * 160, max_duration_s=1)
    assert samples.tolist() == [0.5] * 160


def test_four_gibibytes_do_not_fit() -> None:
    with pytest.raises(ValueError, match="4 GiB"):
        wav_header(48_000, 1 << 32)
