"""The API as it runs beside the calls: on this event loop, with real sockets."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from examples.voice_agent.api.app import create_app, serving
from examples.voice_agent.api.config import ApiConfig
from examples.voice_agent.api.keys import key_digest, new_key
from examples.voice_agent.store.config import JournalConfig, RecordingConfig, StoreConfig
from examples.voice_agent.store.store import Store, open_store
from examples.voice_agent.vitals import Vitals


@dataclass(frozen=True)
class Api:
    store: Store
    url: str
    key: str
    vitals: Vitals
    http: httpx.AsyncClient


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    key, vitals = new_key(), Vitals()
    keys = tmp_path / "keys"
    keys.write_text(f"# who may\nalice {key_digest(key)}\nbob {key_digest(new_key())}\n")
    store_config = StoreConfig(
        url=f"sqlite:///{tmp_path}/agent.db",
        journal=JournalConfig(spool=tmp_path / "spool", linger_s=0.01),
        recording=RecordingConfig(folder=tmp_path / "recordings"),
    )
    config = ApiConfig(port=0, keys_file=keys, send_s=1.0)
    async with open_store(store_config, instance="test", registry=vitals.registry) as store:
        app = create_app(store, config, vitals=vitals)
        headers = {"Authorization": f"Bearer {key}"}
        async with (
            serving(app, config) as url,
            httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as http,
        ):
            yield Api(store, url, key, vitals, http)
