"""Everything that can be set about the server, with its default, in one place.

Other modules take these values from a `ServerSettings` and never repeat a number. Keys are read
here, from the settings themselves or from a file, and appear in no `repr`.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

from fairway.errors import SettingsError
from fairway.settings import setting

FIRST_PORT = 8000
"""Where the search for a free port starts when none was asked for."""


def _secret(help_text: str) -> tuple[str, ...]:
    field: tuple[str, ...] = dataclasses.field(default=(), repr=False, metadata={"help": help_text})
    return field


@dataclass(frozen=True)
class ServerSettings:
    """One server. Sizes are in bytes, times in seconds."""

    host: str = setting("127.0.0.1", "address to listen on")
    port: int | None = setting(None, "port; unset: 8000 or the next free one", minimum=0, maximum=65535)
    api_keys: tuple[str, ...] = _secret("keys that may use the server; none: no key is asked for")
    api_key_file: str | None = setting(None, "file with one key per line; # starts a comment")
    allow_no_auth: bool = setting(False, "listen beyond this machine without a key")
    allowed_origins: tuple[str, ...] = setting((), "web pages of other origins that may call the server")
    allowed_hosts: tuple[str, ...] = setting((), "names, beside addresses and localhost, it answers to")
    lora_folder: str | None = setting(
        None, "folder whose LoRA adapters clients may load and unload while serving; unset: none"
    )
    fine_tuning: bool = setting(True, "take files and fine-tuning jobs, and serve their results")
    fine_tuning_recipe: str | None = setting(
        None, "recipe of fairway tune that jobs start from; unset: its defaults"
    )
    fine_tuning_niceness: int = setting(
        19, "how far training steps back; at 19 it takes only time that nobody wants", minimum=0, maximum=19
    )
    state_folder: str | None = setting(
        None, "where files, jobs and fine-tuned models are kept; unset: ~/.local/share/fairway"
    )
    max_upload_bytes: int = setting(512 << 20, "largest file that is taken", minimum=1024)
    max_files_bytes: int = setting(10 << 30, "disk that uploaded files may take together", minimum=0)
    max_body_bytes: int = setting(8 << 20, "largest request body", minimum=1024)
    max_header_bytes: int = setting(32 << 10, "request line and headers together", minimum=1024)
    max_answers: int = setting(128, "largest n of one request", minimum=1)
    max_prompts: int = setting(256, "most prompts in one completion request", minimum=1)
    max_logprobs: int = setting(20, "largest top_logprobs", minimum=0)
    read_timeout_s: float = setting(30.0, "time a client has to send headers and body", minimum=0.1)
    keep_alive_s: float = setting(75.0, "time an idle connection stays open", minimum=0)
    send_timeout_s: float = setting(60.0, "time a client may refuse to read", minimum=0.1)
    heartbeat_s: float = setting(15.0, "silence after which a stream sends a comment", minimum=0.1)
    drain_s: float = setting(20.0, "time running answers have to end on shutdown", minimum=0)

    def __post_init__(self) -> None:
        if "*" in self.allowed_origins and not self.has_keys:
            raise SettingsError(
                "allowed_origins is * without an API key: every web page could use this server.",
                hint="Name the origins, such as https://app.example.com, or set a key.",
            )

    @property
    def state_path(self) -> Path:
        """Where what outlives the server is kept."""
        if self.state_folder is not None:
            return Path(self.state_folder).expanduser().absolute()
        home = os.environ.get("XDG_DATA_HOME")
        return (Path(home) if home else Path("~/.local/share").expanduser()) / "fairway"

    @property
    def has_keys(self) -> bool:
        return bool(self.api_keys or self.api_key_file)


def load_keys(settings: ServerSettings) -> tuple[str, ...]:
    """The keys themselves: those given, then those of the file."""
    keys = [*settings.api_keys, *_keys_of_file(settings.api_key_file)]
    for key in keys:
        if not key.isascii() or not key.isprintable() or not key or " " in key:
            raise SettingsError("An API key is empty or holds spaces or characters outside ASCII.")
    if settings.has_keys and not keys:
        raise SettingsError(f"{settings.api_key_file} holds no key.", hint="Write one key per line.")
    return tuple(dict.fromkeys(keys))


def _keys_of_file(path: str | None) -> list[str]:
    if path is None:
        return []
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The key file {path} cannot be read: {error}.") from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
