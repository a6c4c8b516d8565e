"""Vietnamese in words, as a person reads it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tts.normalisation.base import replaced
from services.tts.normalisation.vietnamese import Vietnamese
from services.tts.normalisation.vietnamese_numbers import cardinal

VIETNAMESE = Vietnamese()


def read(text: str) -> str:
    return " ".join(replaced(text, VIETNAMESE(text)).split())


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "không"),
        (15, "mười lăm"),
        (21, "hai mươi mốt"),
        (105, "một trăm lẻ năm"),
        (1005, "một nghìn không trăm lẻ năm"),
        (2024, "hai nghìn không trăm hai mươi bốn"),
        (1_250_000, "một triệu hai trăm năm mươi nghìn"),
        (1_000_000_005, "một tỷ không trăm lẻ năm"),
        (12_000_000_000_000, "mười hai nghìn tỷ"),
    ],
)
def test_cardinals(number: int, expected: str) -> None:
    assert cardinal(number) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.250.000 đ", "một triệu hai trăm năm mươi nghìn đồng"),
        ("2 triệu đồng, 1,5 tỷ đồng", "hai triệu đồng, một phẩy năm tỷ đồng"),
        ("$20, 100.000 VNĐ, 50k", "hai mươi đô la, một trăm nghìn đồng, năm mươi nghìn"),
        ("3,5 kg", "ba phẩy năm ki lô gam"),
        ("-5°C", "âm năm độ xê"),
        ("60 km/h", "sáu mươi ki lô mét trên giờ"),
        ("15%, 10-20%", "mười lăm phần trăm, mười đến hai mươi phần trăm"),
        ("từ 3-5 ngày", "từ ba đến năm ngày"),
        ("1/2 và 3/4", "một phần hai và ba phần tư"),
        ("10:30, 8h30, 15:00", "mười giờ ba mươi phút, tám giờ ba mươi, mười lăm giờ"),
        ("ngày 14/03/2024", "ngày mười bốn tháng ba năm hai nghìn không trăm hai mươi bốn"),
        ("2024-04-05", "ngày năm tháng tư năm hai nghìn không trăm hai mươi bốn"),
        ("tháng 4", "tháng tư"),
        ("0912 345 678", "không chín một hai, ba bốn năm, sáu bảy tám"),
        ("PIN 4071, mã A1B2", "PIN bốn không bảy một, mã a một bê hai"),
        ("FBI và UBND TP.HCM", "ép bê i và ủy ban nhân dân thành phố Hồ Chí Minh"),
        ("nam@example.vn", "nam a còng example chấm vê nờ"),
        ("XIN CHÀO CÁC BẠN", "XIN CHÀO CÁC BẠN"),
        ("thế kỷ XXI, chương IV", "thế kỷ hai mươi mốt, chương bốn"),
        ("lần thứ 4, thứ 1, thứ 2", "lần thứ tư, thứ nhất, thứ hai"),
        ("quý 2/2024", "quý hai năm hai nghìn không trăm hai mươi bốn"),
        ("90.000đ/kg", "chín mươi nghìn đồng trên ki lô gam"),
    ],
)
def test_written_forms(text: str, expected: str) -> None:
    assert read(text) == expected


WORDS = st.sampled_from(
    re.findall(r"\S+", "tôi là Nam, người Việt. Hôm nay (đẹp) quá! và có “được” không?")
)
FORMS = st.sampled_from(
    re.findall(
        r"\S+",
        "1.250.000 đ 15% 10:30 8h30 14/03/2024 0912 345 678 3,5 kg -5°C TP. HCM FBI A1B2 a@b.vn $5",
    )
)


@given(st.lists(WORDS, max_size=20).map(" ".join))
def test_words_are_never_changed(text: str) -> None:
    assert replaced(text, VIETNAMESE(text)) == text


@given(st.lists(st.one_of(WORDS, FORMS), max_size=20).map(" ".join))
def test_what_was_read_is_read_the_same_again(text: str) -> None:
    once = read(text)
    assert not any(char.isdigit() for char in once)
    assert read(once) == once


@given(st.one_of(st.text(max_size=120), st.lists(FORMS, max_size=25).map("".join)))
def test_any_text_can_be_read(text: str) -> None:
    VIETNAMESE(text)
