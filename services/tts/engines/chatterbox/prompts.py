"""What the language model is told before it speaks: who speaks, how, and the text."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from services.shared.protocol.base import ErrorCode
from services.tts.engines.base import EngineError
from services.tts.engines.chatterbox.backbone import ROWS
from services.tts.engines.chatterbox.conditioning import VoiceTensors


@dataclass(frozen=True, slots=True)
class Prompt:
    """The beginning of the model's sequence."""

    embeds: Any = field(repr=False)
    """[2, length, width]: with the text and without it."""
    text_span: slice
    """Where the text is in it."""


class Prompts:
    """T3's embeddings. Keeps nothing of a request, so any thread may use it."""

    def __init__(self, t3: Any) -> None:
        self._t3 = t3
        self.start_token: int = t3.hp.start_speech_token
        self.end_token: int = t3.hp.stop_speech_token
        self.most_text_tokens: int = t3.hp.max_text_tokens

    def make(self, voice: VoiceTensors, text_tokens: Sequence[int], exaggeration: float) -> Prompt:
        """Embed a voice and a text.

        Args:
            text_tokens: start and end included.

        Raises:
            EngineError: more text than the model has positions for.
        """
        if len(text_tokens) > self.most_text_tokens:
            raise EngineError(
                f"the text is {len(text_tokens)} tokens long; the model reads at most "
                f"{self.most_text_tokens}",
                code=ErrorCode.TEXT_TOO_LONG,
            )
        with torch.inference_mode():
            return self._make(voice, text_tokens, exaggeration)

    def _make(self, voice: VoiceTensors, text_tokens: Sequence[int], exaggeration: float) -> Prompt:
        t3, device = self._t3, self._t3.device
        speaker = self._condition(voice, exaggeration)
        text = t3.text_emb(torch.tensor([text_tokens], device=device))
        without = torch.zeros_like(text)
        both = torch.cat([text, without])
        places = torch.arange(len(text_tokens), device=device)
        both = both + t3.text_pos_emb.emb(places)
        start = self.embed_tokens([(self.start_token, 0)]).expand(ROWS, -1, -1)
        # The model was trained with one start token and is used with two.
        embeds = torch.cat([speaker.expand(ROWS, -1, -1), both, start, start], dim=1)
        begin = speaker.shape[1]
        return Prompt(embeds, slice(begin, begin + len(text_tokens)))

    def embed_tokens(self, tokens: Sequence[tuple[int, int]]) -> Any:
        """[n, 1, width] of speech tokens with their positions."""
        numbers, places = torch.tensor(tokens, device=self._t3.device).T
        embeds = self._t3.speech_emb(numbers) + self._t3.speech_pos_emb.emb(places)
        return embeds[:, None]

    def _condition(self, voice: VoiceTensors, exaggeration: float) -> Any:
        """[1, length, width] of the voice."""
        t3 = self._t3
        dtype, device = t3.speech_emb.weight.dtype, t3.device
        heard = torch.from_numpy(voice.prompt_tokens).to(device, torch.long)
        prompt = t3.speech_emb(heard) + t3.speech_pos_emb(heard)
        encoder = t3.cond_enc
        parts = [encoder.spkr_enc(torch.from_numpy(voice.speaker).to(device, dtype))[:, None]]
        parts.append(prompt if encoder.perceiver is None else encoder.perceiver(prompt))
        if encoder.emotion_adv_fc is not None:
            emotion = torch.full((1, 1, 1), exaggeration, dtype=dtype, device=device)
            parts.append(encoder.emotion_adv_fc(emotion))
        return torch.cat(parts, dim=1)
