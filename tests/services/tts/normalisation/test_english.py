"""English in words, as a person reads it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tts.normalisation.base import replaced
from services.tts.normalisation.english import English

AMERICAN, BRITISH = English(), English(day_first=True)


def read(text: str, english: English = AMERICAN) -> str:
    return " ".join(replaced(text, english(text)).split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12 7,004 1,250,000", "twelve seven thousand four one million two hundred fifty thousand"),
        ("0 and 007", "zero and zero zero seven"),
        ("3.14", "three point one four"),
        ("-2.5", "minus two point five"),
        ("0.05", "zero point zero five"),
        ("12345678901234567890", "one two three four five six seven eight nine zero " * 2),
        ("1st, 22nd, 103rd, 19th", "first, twenty-second, one hundred third, nineteenth"),
        ("in 1987", "in nineteen eighty-seven"),
        ("2008 and 2024", "two thousand eight and twenty twenty-four"),
        ("1905 was cold", "nineteen oh five was cold"),
        ("2024 people, 2000 items", "two thousand twenty-four people, two thousand items"),
        ("the 1990s, the '80s", "the nineteen nineties, the eighties"),
        ("4-6", "four to six"),
        ("1914-1918", "nineteen fourteen to nineteen eighteen"),
        ("5 – 7", "five to seven"),
        ("1/2", "one half"),
        ("3/4", "three quarters"),
        ("2 1/2", "two and a half"),
        ("5/16", "five sixteenths"),
        ("2½", "two and a half"),
        ("24/7 and 1/365", "twenty-four seven and one over three hundred sixty-five"),
        ("version 1.2.3", "version one point two point three"),
        ("v2.1.0", "version two point one point zero"),
        ("1.5x faster, 2x4", "one point five times faster, two-X-four"),
        ("on 9/11", "on September eleventh"),
        ("after 9/11", "after nine eleven"),
        ("by 12/25, add 3/4", "by December twenty-fifth, add three quarters"),
        (".5 mg", "zero point five milligrams"),
    ],
)
def test_numbers(text: str, expected: str) -> None:
    assert read(text) == expected.strip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-17", "May seventeenth, twenty twenty-four"),
        ("March 14, 1987, in", "March fourteenth, nineteen eighty-seven, in"),
        ("June 5th; Sept. 9", "June fifth; September ninth"),
        ("5 May 2024", "the fifth of May, twenty twenty-four"),
        ("the 5 May", "the fifth of May"),
        ("May 2024", "May twenty twenty-four"),
        ("10:30 a.m., 9 PM, 7pm", "ten thirty a.m., nine p.m., seven p.m."),
        ("8.15am", "eight fifteen a.m."),
        ("10:00, 10:05, 14:00", "ten o'clock, ten oh five, fourteen hundred hours"),
        ("12:30:05", "twelve thirty and five seconds"),
        ("9am-5pm", "nine a.m. to five p.m."),
        ("13/40/2024 is none", "thirteen slash forty slash twenty twenty-four is none"),
    ],
)
def test_dates_and_times(text: str, expected: str) -> None:
    assert read(text) == expected


def test_the_order_of_day_and_month_depends_on_the_region() -> None:
    assert read("05/06/2024") == "May sixth, twenty twenty-four"
    assert read("05/06/2024", BRITISH) == "June fifth, twenty twenty-four"
    assert read("25/06/2024") == "June twenty-fifth, twenty twenty-four"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$3.50", "three dollars and fifty cents"),
        ("$1", "one dollar"),
        ("$1.01", "one dollar and one cent"),
        ("$0.99", "ninety-nine cents"),
        (
            "£120.75 and €49.00",
            "one hundred twenty pounds and seventy-five pence and forty-nine euros",
        ),
        ("$1.2 million", "one point two million dollars"),
        ("£1bn", "one billion pounds"),
        ("$5k", "five thousand dollars"),
        ("$5-10, $5-$10, -$3", "five to ten dollars, five to ten dollars, minus three dollars"),
        ("20 USD, 20 €", "twenty US dollars, twenty euros"),
        ("$20/month", "twenty dollars per month"),
        ("45%", "forty-five percent"),
        ("10-20%", "ten to twenty percent"),
        ("0.25 %", "zero point two five percent"),
        ("50 km/h", "fifty kilometers per hour"),
        ("1 kg", "one kilogram"),
        ("2.5kg", "two point five kilograms"),
        ("5-10 km", "five to ten kilometers"),
        ("-5°C", "minus five degrees Celsius"),
        ("212°F", "two hundred twelve degrees Fahrenheit"),
        ("90°", "ninety degrees"),
        ("16 GB, 5'10\"", "sixteen gigabytes, five foot ten"),
    ],
)
def test_money_and_measures(text: str, expected: str) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(415) 555-2671", "four one five, five five five, two six seven one"),
        ("555-0142", "five five five, zero one four two"),
        ("+44 20 7946 0958", "plus four four, two zero, seven nine four six, zero nine five eight"),
        ("DC 20500", "D.C two zero five zero zero"),
        ("PIN 4071, code 12", "PIN four zero seven one, code one two"),
        ("A1B2, COVID-19, MP3, 4K", "A-one-B-two, COVID-nineteen, M.P-three, four-K"),
        ("the FBI, HTML, NASA, PCs, IBM's", "the F.B.I, H.T.M.L, NASA, P.C.s, I.B.M's"),
        ("STOP THAT NOW PLEASE", "STOP THAT NOW PLEASE"),
        ("Room 305, Flight 287", "Room three oh five, Flight two eight seven"),
        ("joe.doe@mail.example.com", "joe dot doe, at mail dot example dot com"),
        (
            "https://www.example.com/x?y=2.",
            "W.W.W dot example dot com slash x question mark y equals two.",
        ),
        ("@joe likes #news", "at joe likes hashtag news"),
        ("No. 5 and #6", "number five and number six"),
        ("World War II, Elizabeth II", "World War two, Elizabeth the second"),
    ],
)
def test_codes_and_addresses(text: str, expected: str) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dr. Lee vs. Mr. Fox", "Doctor Lee versus Mister Fox"),
        ("Mr. and Mrs. Fox", "Mister and Missus Fox"),
        ("St. John on Baker St. in London", "Saint John on Baker Street in London"),
        ("e.g. apples, i.e. fruit", "for example apples, that is fruit"),
        ("apples etc.", "apples et cetera."),
        ("R&D at 5 + 5 = 10", "R and D at five plus five equals ten"),
        ("a < b, ~5, 3 x 4, 2 - 1", "a less than b, about five, three times four, two minus one"),
        ("a | b \\ c ^", "a b c"),
    ],
)
def test_abbreviations_and_symbols(text: str, expected: str) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "I can't believe it's you, Anna - really?",
        "We'll meet at noon (or later); bring a well-known friend.",
        "OK, I am in. He may march on Sunday!",
        "A man, a plan: go on... “yes” he said.",
    ],
)
def test_plain_prose_is_left_alone(text: str) -> None:
    assert AMERICAN(text) == []


WORDS = st.sampled_from(
    re.findall(
        r"\S+",
        "I a the quick brown fox Anna's well-known don't OK and, then. so! (yes) “no” we; they: my",
    )
)
FORMS = st.sampled_from(
    re.findall(
        r"\S+",
        """$3.50 $1.2 million 45% -5°C 10:30 a.m. 2024-05-17 May 5, 3/4 1st 1990s (415) 555-2671
    A1B2 FBI joe@x.com www.x.org/a 12,345.6 7-10 Dr. Lee e.g. & 50 km/h 5k #7
    @joe II 4K R&D $ % / -""",
    )
)


@given(st.lists(WORDS, max_size=20).map(" ".join))
def test_words_are_never_changed(text: str) -> None:
    assert replaced(text, AMERICAN(text)) == text


@given(st.lists(st.one_of(WORDS, FORMS), max_size=20).map(" ".join))
def test_what_was_read_is_read_the_same_again(text: str) -> None:
    once = read(text)
    assert not any(char.isdigit() for char in once)
    assert read(once) == once


@given(st.one_of(st.text(max_size=120), st.lists(FORMS, max_size=25).map("".join)))
def test_any_text_can_be_read(text: str) -> None:
    found = AMERICAN(text)
    ends = [0, *(one.end for one in found)]
    assert all(end <= one.start < one.end for end, one in zip(ends, found, strict=False))
