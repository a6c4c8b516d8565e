"""JSON from strangers: every text is either a message or an error that says what was expected."""

import json
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from services.shared.protocol.base import ErrorCode, Message, ProtocolError
from services.shared.protocol.codec import Codec, encode


class Place(Message):
    name: str = "here"


class Say(Message):
    type: Literal["say"] = "say"
    text: str
    times: Annotated[int, Field(ge=1, le=9)] = 1
    speed: float = 1.0
    place: Place = Place()


class Hush(Message):
    type: Literal["hush"] = "hush"


CODEC: Codec[Say | Hush] = Codec(Say, Hush)


def refused(text: str) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        CODEC.decode(text)
    assert len(caught.value.message) < 600, "a sentence, not an echo"
    return caught.value


def test_a_message_comes_back_as_it_was() -> None:
    say = Say(text="Grüße 🙂 \n", times=3, place=Place(name="there"))
    assert CODEC.decode(encode(say)) == say
    assert CODEC.decode('{"type":"hush"}') == Hush()


def test_what_is_none_is_not_sent() -> None:
    class Maybe(Message):
        type: Literal["maybe"] = "maybe"
        value: int | None = None

    assert json.loads(encode(Maybe())) == {"type": "maybe"}
    assert json.loads(encode(Maybe(value=0))) == {"type": "maybe", "value": 0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"text":"a"}', '"type" is missing; expected one of hush, say'),
        ('{"type":null}', '"type" is missing'),
        ('{"type":"shout"}', "\"type\" is 'shout'; expected one of hush, say"),
        ('{"type":["say"]}', "expected one of"),
        ('{"type":{"say":1}}', "expected one of"),
        ('{"type":1}', '"type" is 1'),
        ('{"type":"say"}', 'field "text" is required'),
        ('{"type":"say","text":"a","volume":3}', 'unknown field "volume"'),
        ('{"type":"say","text":"a","place":{"nam":"b"}}', 'unknown field "place.nam"'),
        ('{"type":"say","text":7}', 'field "text"'),
        ('{"type":"say","text":null}', 'field "text"'),
        ('{"type":"say","text":"a","times":"many"}', 'field "times"'),
        ('{"type":"say","text":"a","times":1.5}', 'field "times"'),
        ('{"type":"say","text":"a","times":10}', "less than or equal to 9 (got 10)"),
        ('{"type":"say","text":"a","place":"there"}', 'field "place"'),
        ('{"type":"hush","text":"a"}', 'hush: unknown field "text"'),
    ],
)
def test_a_wrong_message_is_told_what_is_wrong(text: str, said: str) -> None:
    error = refused(text)
    assert error.code is ErrorCode.INVALID_MESSAGE
    assert said in error.message


@pytest.mark.parametrize(
    "text",
    ["", " ", "{", "nonsense", '{"type":"hush"', '{"type":"hush"}}', "[]", '"hush"', "1", "null"]
    + [
        "NaN",
        '{"type":"say","text":"a","speed":NaN}',
        '{"type":"say","text":"a","speed":-Infinity}',
    ]
    + [r'{"type":"say","text":"\ud800"}', "\x00", "{'type':'hush'}"],
)
def test_what_is_no_object_is_no_message(text: str) -> None:
    assert refused(text).code is ErrorCode.INVALID_JSON


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"type":' * 50_000,
        '{"type":"say","text":' + "[" * 5000 + "]" * 5000 + "}",
        '{"type":"say","text":"a","times":' + "9" * 100_000 + "}",
        '{"type":"say","text":"a","speed":1e999999}',
        '{"type":"' + "x" * 1_000_000 + '"}',
        '{"type":"say","' + "x" * 1_000_000 + '":1}',
        '{"type":"say","text":["' + "x" * 1_000_000 + '"]}',
        json.dumps({"type": "hush"} | {f"f{number}": number for number in range(10_000)}),
    ],
    ids=["arrays", "objects", "depth", "digits", "exponent", "type", "name", "value", "fields"],
)
@pytest.mark.timeout(5)
def test_bombs_are_defused(text: str) -> None:
    refused(text)


def test_of_a_field_given_twice_the_last_counts() -> None:
    assert CODEC.decode('{"type":"say","type":"hush"}') == Hush()


def test_only_the_first_faults_are_listed() -> None:
    text = json.dumps({"type": "hush"} | {f"f{number}": 1 for number in range(10)})
    assert refused(text).message.endswith("and 7 more")


def test_a_message_without_its_type_is_a_mistake_of_ours() -> None:
    class Nameless(Message):
        type: int = 0

    with pytest.raises(TypeError, match="Nameless"):
        Codec(Nameless)


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
names = st.sampled_from(["type", "text", "times", "speed", "place", "name"]) | st.text(max_size=5)
objects = st.dictionaries(names, values | st.sampled_from(["say", "hush"])).map(json.dumps)


@given(st.text() | values.map(json.dumps) | objects)
def test_any_text_is_a_message_or_a_protocol_error(text: str) -> None:
    try:
        message = CODEC.decode(text)
    except ProtocolError as error:
        assert error.fatal
        assert error.message
    else:
        assert CODEC.decode(encode(message)) == message


@given(st.builds(Say, text=st.text(), times=st.integers(1, 9), speed=st.floats(-1e9, 1e9)))
def test_any_message_survives_the_wire(say: Say) -> None:
    assert CODEC.decode(encode(say)) == say
