"""The far end of a line in tests: it plays what was sent, a frame at a time."""

from collections import deque


def next_frame(queue: deque[bytearray | str], size: int) -> tuple[bytearray, list[str]]:
    """Take a frame of audio, and the marks up to its end.

    Args:
        queue: audio and names of marks, in the order of their playing.
        size: bytes; less is given when no more is there.
    """
    frame, marks = bytearray(), list[str]()
    while queue and len(frame) < size:
        head = queue[0]
        if isinstance(head, str):
            marks.append(head)
            queue.popleft()
            continue
        taken = head[: size - len(frame)]
        frame += taken
        del head[: len(taken)]
        if not head:
            queue.popleft()
    return frame, marks
