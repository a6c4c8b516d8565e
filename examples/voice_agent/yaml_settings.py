"""Settings of one YAML file, overridden by environment variables; frozen and strict."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsError,
    YamlConfigSettingsSource,
)
from yaml import YAMLError


class ConfigError(Exception):
    """The configuration cannot be used; the sentence says what is wrong, and where."""


class YamlSettings(BaseSettings):
    """Base of a program's settings; its `model_config` names the variables' prefix."""

    _file: ClassVar[Path | None] = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, cls._file)


S = TypeVar("S", bound=YamlSettings)


def read_settings(kind: type[S], path: Path) -> S:
    """The settings in `path`; the defaults when there is no such file.

    Raises:
        ValueError: the sentence names the file and every wrong key, and no value: it may be secret.
    """
    configured = type(kind.__name__, (kind,), {"_file": path})
    try:
        settings: S = configured()
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ValueError(f"{path}: {'; '.join(wrong)}") from None
    except (YAMLError, SettingsError, OSError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: {error}") from None
    return settings


def load_file(kind: type[S], path: Path, with_secret: Callable[[S], S]) -> S:
    """The settings in `path`, which must be there, with what files of secrets hold.

    Args:
        with_secret: raises ValueError where there is none.

    Raises:
        ConfigError: what is wrong, and where.
    """
    if not path.is_file():
        raise ConfigError(f"there is no configuration at {path}")
    try:
        return with_secret(read_settings(kind, path))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def read_secret(file: Path, name: str) -> str:
    """What a file holds that a setting names.

    Raises:
        ValueError: it cannot be read, or is empty.
    """
    try:
        secret = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{name}: {error}") from None
    if not secret:
        raise ValueError(f"{name}: {file} is empty")
    return secret
