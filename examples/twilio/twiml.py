"""What Twilio is told to do with a call. Pure.

https://www.twilio.com/docs/voice/twiml: verbs are carried out one after the other, and a call whose
document is at its end is hung up.
"""

from xml.etree.ElementTree import Element, SubElement, tostring


def connect(stream_url: str, token: str, after_url: str) -> str:
    """Talk to us; when the stream ends, ask `after_url` how it goes on.

    Args:
        stream_url: `wss://…`, without a query: Twilio passes none on.
        token: comes back in the stream's first message.
    """
    response = Element("Response")
    verb = SubElement(response, "Connect", action=after_url, method="POST")
    stream = SubElement(verb, "Stream", url=stream_url)
    SubElement(stream, "Parameter", name=TOKEN, value=token)
    return _document(response)


def dial(target: str) -> str:
    """Put the caller through.

    Args:
        target: a number as +15551234567, or `sip:somebody@example.com`.
    """
    response = Element("Response")
    verb = SubElement(response, "Dial")
    if target.startswith(("sip:", "sips:")):
        SubElement(verb, "Sip").text = target
    else:
        SubElement(verb, "Number").text = target
    return _document(response)


def say_and_hang_up(sentence: str, language: str) -> str:
    response = Element("Response")
    SubElement(response, "Say", language=language).text = sentence
    SubElement(response, "Hangup")
    return _document(response)


def hang_up() -> str:
    response = Element("Response")
    SubElement(response, "Hangup")
    return _document(response)


def reject() -> str:
    """The caller hears that the line is busy; a call that was never answered costs nothing."""
    response = Element("Response")
    SubElement(response, "Reject", reason="busy")
    return _document(response)


TOKEN = "token"
"""Name of the parameter that says which call a stream belongs to."""


def _document(response: Element) -> str:
    return '<?xml version="1.0" encoding="UTF-8"?>' + tostring(response, encoding="unicode")
