"""The pieces of audio are the whole, whatever the pieces."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.tts.engines.base import Floats

pytestmark = [
    pytest.mark.chatterbox,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]

PROPERTY = settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
TOKENS = tuple(np.random.default_rng(5).integers(0, 6561, 70).tolist())
FRAMES = 2


@pytest.fixture(scope="module")
def flow(chatterbox_library: Any) -> Any:
    return chatterbox_library.small_flow()


@pytest.fixture(scope="module")
def hift(chatterbox_library: Any) -> Any:
    return chatterbox_library.small_hift()


def voice_of(library: Any, tokens: int = 24) -> Any:
    return library.random_voice(1, tokens=tokens)


def noise_for(tokens: int) -> Any:
    from services.tts.engines.chatterbox.speech import position_noise

    return position_noise(9, FRAMES * (tokens + len(TOKENS)))


def cuts() -> st.SearchStrategy[list[int]]:
    """Where pieces end, in blocks of 12 tokens."""
    return st.lists(st.integers(1, 5), min_size=1, max_size=5, unique=True).map(sorted)


@PROPERTY
@given(ends=cuts())
def test_frames_in_pieces_are_the_frames_at_once(
    chatterbox_library: Any, flow: Any, ends: list[int]
) -> None:
    import torch

    from services.tts.engines.chatterbox.speech import BLOCK, LOOK_AHEAD, MelFlow

    model, voice, noise = MelFlow(flow), voice_of(chatterbox_library), noise_for(24)
    whole = model.frames(voice, TOKENS, noise, final=True)
    assert whole.shape == (1, 80, FRAMES * len(TOKENS))
    for end in ends:
        part = model.frames(voice, TOKENS[: end * BLOCK + LOOK_AHEAD], noise, final=False)
        assert part.shape[2] == FRAMES * BLOCK * end
        torch.testing.assert_close(part, whole[:, :, : part.shape[2]], atol=2e-5, rtol=1e-4)


def test_without_blocks_the_frames_are_the_library_s(
    chatterbox_library: Any, flow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from chatterbox.models.s3gen import flow_matching

    from services.tts.engines.chatterbox.speech import MelFlow

    voice, noise = voice_of(chatterbox_library), noise_for(24)
    own = chatterbox_library.small_flow()
    got = MelFlow(own, block=0).frames(voice, TOKENS, noise, final=True)
    monkeypatch.setattr(flow_matching.torch, "randn_like", lambda like: noise[None].clone())
    expected, _ = own.inference(
        token=torch.tensor([TOKENS]),
        token_len=torch.tensor([len(TOKENS)]),
        prompt_token=torch.from_numpy(voice.reference_tokens).long(),
        prompt_token_len=torch.tensor([voice.reference_tokens.shape[1]]),
        prompt_feat=torch.from_numpy(voice.reference_mel),
        prompt_feat_len=None,
        embedding=torch.from_numpy(voice.timbre),
        finalize=True,
    )
    torch.testing.assert_close(got, expected, atol=2e-5, rtol=1e-4)


def test_voices_sound_different(chatterbox_library: Any, flow: Any) -> None:
    from services.tts.engines.chatterbox.speech import MelFlow

    model, noise = MelFlow(flow), noise_for(24)
    one, other = (
        model.frames(chatterbox_library.random_voice(n, tokens=24), TOKENS, noise, final=True)
        for n in (1, 2)
    )
    assert (one - other).abs().max() > 0.1


def test_the_flow_can_be_stopped_in_between(chatterbox_library: Any, flow: Any) -> None:
    from services.tts.engines.chatterbox.speech import MelFlow

    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        if checks == 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        MelFlow(flow).frames(
            voice_of(chatterbox_library), TOKENS, noise_for(24), final=True, check=check
        )
    assert checks == 4


# From frames to samples.


def mel_frames(count: int) -> Any:
    import torch

    return torch.from_numpy(
        np.random.default_rng(2).standard_normal((1, 80, count), dtype=np.float32)
    )


def sounded(hift: Any, mel: Any, ends: list[int], hold: int) -> Floats:
    from services.tts.engines.chatterbox.speech import Vocoder

    vocoder = Vocoder(hift, 3, hold=hold)
    begins = [0, *ends]
    pieces = [
        vocoder.push(mel[:, :, begin:end], final=end == mel.shape[2])
        for begin, end in zip(begins, [*ends, mel.shape[2]], strict=True)
    ]
    return np.concatenate(pieces)


@PROPERTY
@given(ends=st.lists(st.integers(1, 119), max_size=4, unique=True).map(sorted))
@example(ends=[9])  # with 8 held back the first piece is a frame: less than what is faded in
def test_samples_in_pieces_are_the_samples_at_once(hift: Any, ends: list[int]) -> None:
    from services.tts.engines.chatterbox.speech import HOLD, HOP

    mel = mel_frames(120)
    whole = sounded(hift, mel, [], 0)
    assert len(whole) == 120 * HOP
    assert 0.05 < np.abs(whole).max() < 1
    # All that a frame can change is held back: nothing is left but rounding.
    np.testing.assert_allclose(sounded(hift, mel, ends, 20), whole, atol=3e-4)
    # What is held back in practice leaves less than can be heard (-50 dB of the peak).
    got = sounded(hift, mel, ends, HOLD)
    assert len(got) == len(whole)
    assert np.abs(got - whole).max() < 0.003 * np.abs(whole).max()


def test_the_beginning_is_silent_and_then_faded_in(hift: Any) -> None:
    audio = sounded(hift, mel_frames(40), [], 0)
    assert not audio[:480].any()
    assert np.abs(audio[480:720]).max() < np.abs(audio[960:]).max()


def test_the_source_goes_on_where_it_was(hift: Any) -> None:
    import torch

    from services.tts.engines.chatterbox.speech import Source

    pitch = torch.linspace(80, 300, 60)
    pitch[20:30] = 0  # unvoiced

    def made(*keeps: int) -> Floats:
        source = Source(hift.m_source, np.random.default_rng(1))
        done, parts = 0, []
        for keep in keeps:
            with torch.inference_mode():
                sound = source.sound(pitch[done : done + keep + 5], keep)  # five provisional ones
            parts.append(sound[0, 0, : keep * 480].numpy())
            done += keep
        return np.concatenate(parts)

    np.testing.assert_allclose(made(7, 13, 20, 15), made(55), atol=1e-5)


@PROPERTY
@given(
    speed=st.sampled_from([0.25, 0.7, 1.3, 2.0, 4.0]),
    ends=st.lists(st.integers(1, 99), max_size=5, unique=True).map(sorted),
)
def test_stretched_in_pieces_is_stretched_at_once(
    chatterbox_library: Any, speed: float, ends: list[int]
) -> None:
    import torch

    from services.tts.engines.chatterbox.speech import Stretch

    mel = mel_frames(100)

    def stretched(ends: list[int]) -> Any:
        stretch = Stretch(speed)
        parts = [
            stretch.push(mel[:, :, begin:end], final=end == 100)
            for begin, end in zip([0, *ends], [*ends, 100], strict=True)
        ]
        return torch.cat(parts, dim=2)

    whole = stretched([])
    assert whole.shape[2] == pytest.approx(100 / speed, abs=1)
    torch.testing.assert_close(stretched(ends), whole)


def test_unchanged_speed_changes_nothing(chatterbox_library: Any) -> None:
    from services.tts.engines.chatterbox.speech import Stretch

    mel = mel_frames(10)
    assert Stretch(1.0).push(mel, final=False) is mel
