"""The language model for several requests at once: against the library's own loop, and alone."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from services.tts.engines.base import EngineError, EngineLost
from services.tts.engines.chatterbox.guard import RepeatGuard

pytestmark = [
    pytest.mark.chatterbox,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]

TEXTS = ([255, 30, 31, 32, 0], [255, *range(10, 60), 0], [255, *range(20, 40), 0])
WAIT_S = 30.0


class Model:
    """A token loop over the tiny T3."""

    def __init__(self, library: Any, slots: int, dtype: Any = None) -> None:
        from services.tts.engines.chatterbox.backbone import Backbone
        from services.tts.engines.chatterbox.prompts import Prompts
        from services.tts.engines.chatterbox.tokens import TokenLoop

        self.library = library
        self.t3 = library.tiny_t3().to(dtype=dtype)
        self.prompts = Prompts(self.t3)
        self.backbone = Backbone(self.t3, slots, (library.HEAD,))
        self.loop = TokenLoop(self.prompts, self.backbone)

    def request(self, text: list[int], *, seed: int = 1, budget: int = 40, **sampling: Any) -> Any:
        from services.tts.engines.chatterbox.sampling import Sampling
        from services.tts.engines.chatterbox.tokens import TokenRequest

        prompt = self.prompts.make(self.library.random_voice(), text, 0.5)
        return TokenRequest(prompt, Sampling(**sampling), seed, budget, RepeatGuard())

    def speak(self, text: list[int], **changes: Any) -> tuple[int, ...]:
        stream = self.loop.submit(self.request(text, **changes))
        return tuple(stream.wait(10_000, WAIT_S).tokens)


@pytest.fixture
def model(chatterbox_library: Any) -> Iterator[Model]:
    made = Model(chatterbox_library, slots=3)
    made.loop.start()
    yield made
    made.loop.close()


@pytest.mark.parametrize("text", TEXTS)
def test_the_tokens_are_those_of_the_library(model: Model, text: list[int]) -> None:
    import torch
    from chatterbox.models.t3.modules.cond_enc import T3Cond

    voice = model.library.random_voice()
    condition = T3Cond(
        speaker_emb=torch.from_numpy(voice.speaker),
        cond_prompt_speech_tokens=torch.from_numpy(voice.prompt_tokens).long(),
        emotion_adv=0.5 * torch.ones(1, 1, 1),
    )
    expected = model.t3.inference(
        t3_cond=condition,
        text_tokens=torch.tensor([text, text]),
        max_new_tokens=40,
        temperature=1e-4,  # so cold that chance decides nothing
        top_p=1.0,
        cfg_weight=0.5,
    )[0]
    got = model.speak(text, temperature=1e-4)
    assert list(got) == expected[: len(got)].tolist()
    assert len(got) == 40


def test_together_they_speak_as_alone(model: Model) -> None:
    alone = [model.speak(text, seed=number) for number, text in enumerate(TEXTS)]
    before = model.loop.steps
    streams = [
        model.loop.submit(model.request(text, seed=number)) for number, text in enumerate(TEXTS)
    ]
    together = [stream.wait(10_000, WAIT_S).tokens for stream in streams]
    assert together == alone
    assert len({tuple(tokens) for tokens in together}) == 3
    assert model.loop.steps - before < sum(map(len, alone))  # they did share steps


def test_who_joins_and_leaves_in_between_changes_nothing(model: Model) -> None:
    budgets = (90, 15, 40, 33, 8, 60)
    texts = [TEXTS[number % 3] for number in range(6)]
    alone = [
        model.speak(text, seed=number, budget=budget)
        for number, (text, budget) in enumerate(zip(texts, budgets, strict=True))
    ]
    streams = []
    for number, (text, budget) in enumerate(zip(texts, budgets, strict=True)):
        streams.append(model.loop.submit(model.request(text, seed=number, budget=budget)))
        streams[0].wait(6 * number, WAIT_S)
    assert [stream.wait(10_000, WAIT_S).tokens for stream in streams] == alone


def test_seeds_decide(model: Model) -> None:
    first, second, other = (model.speak(TEXTS[1], seed=seed) for seed in (1, 1, 2))
    assert first == second != other


def test_the_cache_grows_and_keeps_what_was_said(model: Model) -> None:
    short = model.speak(TEXTS[1], budget=100)
    assert model.backbone.capacity == 256
    long = model.speak(TEXTS[1], budget=400)
    assert model.backbone.capacity == 512
    assert long[:100] == short
    assert model.speak(TEXTS[1], budget=400) == long
    assert model.backbone.capacity == 512


def test_half_precision_speaks(chatterbox_library: Any) -> None:
    import torch

    model = Model(chatterbox_library, slots=2, dtype=torch.bfloat16)
    model.loop.start()
    assert len(model.speak(TEXTS[1])) == 40
    model.loop.close()


def test_nothing_stays_behind_in_the_model(model: Model) -> None:
    model.speak(TEXTS[0])
    assert not any(module._forward_hooks for module in model.t3.modules())
    assert model.t3.tfmr.config._attn_implementation == "sdpa"
    assert not model.t3.compiled


def test_a_cancelled_request_frees_its_slot(model: Model) -> None:
    streams = [model.loop.submit(model.request(TEXTS[0], budget=900)) for _ in range(3)]
    waiting = model.loop.submit(model.request(TEXTS[0], budget=5))
    streams[0].wait(3, WAIT_S)
    assert not waiting.ended
    streams[1].cancel()
    assert len(waiting.wait(5, WAIT_S).tokens) == 5
    for stream in streams:
        stream.cancel()


def test_one_that_cannot_begin_fails_alone(model: Model) -> None:
    from dataclasses import replace

    good = model.loop.submit(model.request(TEXTS[0]))
    broken = model.request(TEXTS[0])
    prompt = replace(broken.prompt, embeds=broken.prompt.embeds[..., :5])
    with pytest.raises(EngineError, match="failed on this text"):
        model.loop.submit(replace(broken, prompt=prompt)).wait(1, WAIT_S)
    assert len(good.wait(10_000, WAIT_S).tokens) == 40


def test_no_numbers_fail_one_request_and_nobody_else(model: Model) -> None:
    from dataclasses import replace

    broken = model.request(TEXTS[0])
    prompt = replace(broken.prompt, embeds=broken.prompt.embeds * float("nan"))
    streams = [
        model.loop.submit(model.request(TEXTS[1], seed=4)),
        model.loop.submit(replace(broken, prompt=prompt)),
    ]
    with pytest.raises(EngineError, match="no numbers"):
        streams[1].wait(1, WAIT_S)
    together = streams[0].wait(10_000, WAIT_S).tokens
    assert together == model.speak(TEXTS[1], seed=4)


def test_a_lost_device_ends_everything(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = [model.loop.submit(model.request(TEXTS[0], budget=900)) for _ in range(2)]
    streams[0].wait(3, WAIT_S)

    def lost(*_: object) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(model.backbone, "step", lost)
    for stream in streams:
        with pytest.raises(EngineLost, match="stopped working"):
            stream.wait(10_000, WAIT_S)
    deadline = time.monotonic() + WAIT_S
    while "chatterbox-tokens" in {thread.name for thread in threading.enumerate()}:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(EngineLost):
        model.loop.submit(model.request(TEXTS[0]))


def test_waiting_has_a_limit(chatterbox_library: Any) -> None:
    model = Model(chatterbox_library, slots=1)  # not started
    stream = model.loop.submit(model.request(TEXTS[0]))
    with pytest.raises(EngineError, match="no 5 tokens in 0.05 s"):
        stream.wait(5, 0.05)


def test_closing_fails_who_waits(model: Model) -> None:
    stream = model.loop.submit(model.request(TEXTS[0], budget=1000))
    stream.wait(1, WAIT_S)
    model.loop.close()
    with pytest.raises(EngineError, match="shut down"):
        stream.wait(10_000, WAIT_S)
