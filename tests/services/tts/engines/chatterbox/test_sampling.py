"""Drawing tokens as the library does."""

from typing import Any

import pytest

pytestmark = pytest.mark.chatterbox


def test_probabilities_are_the_library_s(chatterbox_library: Any) -> None:
    import torch
    from chatterbox.models.t3 import t3 as library

    from services.tts.engines.chatterbox.sampling import Sampling, probabilities

    torch.manual_seed(0)
    logits = torch.randn(3, 200) * 3
    seen = torch.zeros(3, 200, dtype=torch.bool)
    ids = [[1, 2, 3], [5, 5, 9], [100, 7, 8]]
    for row, own in enumerate(ids):
        seen[row, own] = True
    sampling = [
        Sampling(),
        Sampling(temperature=1.0, min_p=0.2, repetition_penalty=2.0),
        Sampling(temperature=0.3, min_p=0.0, top_p=0.7),
    ]
    got = probabilities(logits, seen, sampling)
    for row, each in enumerate(sampling):
        history = torch.tensor([ids[row]])
        expected = logits[row : row + 1].clone()
        penalty = library.RepetitionPenaltyLogitsProcessor(penalty=each.repetition_penalty)
        expected = penalty(history, expected) / each.temperature
        expected = library.MinPLogitsWarper(min_p=each.min_p)(history, expected)
        expected = library.TopPLogitsWarper(top_p=each.top_p)(history, expected)
        torch.testing.assert_close(got[row], expected.softmax(dim=-1)[0])


def test_draws_follow_the_probabilities(chatterbox_library: Any) -> None:
    import torch

    from services.tts.engines.chatterbox.sampling import Noise, Sampling, draw

    chances = torch.tensor([0.5, 0.3, 0.15, 0.05])
    noise = Noise(3, 4, torch.device("cpu"))
    counts = torch.zeros(4)
    for _ in range(4000):
        sampling = [Sampling(temperature=1.0, min_p=0.0, repetition_penalty=1.0)]
        unseen = torch.zeros(1, 4, dtype=torch.bool)
        counts[draw(chances.log()[None], unseen, sampling, noise.next()[None])] += 1
    torch.testing.assert_close(counts / 4000, chances, atol=0.03, rtol=0)


def test_guidance_leads_away_from_what_comes_without_text(chatterbox_library: Any) -> None:
    import torch

    from services.tts.engines.chatterbox.sampling import Sampling, guided

    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0], [1.0, 0.0]])
    got = guided(logits, [Sampling(cfg_weight=0.5), Sampling(cfg_weight=1.0)])
    torch.testing.assert_close(got, torch.tensor([[1.5, -0.5], [3.0, 4.0]]))


def test_the_noise_of_a_seed_does_not_depend_on_who_else_draws(chatterbox_library: Any) -> None:
    import torch

    from services.tts.engines.chatterbox.sampling import Noise

    cpu = torch.device("cpu")
    alone = Noise(5, 10, cpu)
    first = [alone.next().clone() for _ in range(40)]
    again, other = Noise(5, 10, cpu), Noise(6, 10, cpu)
    for row in first:
        other.next()
        torch.testing.assert_close(again.next(), row, rtol=0, atol=0)
