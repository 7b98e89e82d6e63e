"""Which server, and as whom: two variables, or a file that its owner alone can read."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from platformdirs import user_config_path

URL_VARIABLE = "ANGARIUM_URL"
KEY_VARIABLE = "ANGARIUM_KEY"


class NotLoggedIn(Exception):
    """Nothing says which server to call, and with which key."""

    def __init__(self) -> None:
        super().__init__(f"Run `angarium login` first, or set {URL_VARIABLE} and {KEY_VARIABLE}.")


@dataclass(frozen=True, slots=True)
class Login:
    """A server, and an API key of its."""

    url: str
    key: str

    def __repr__(self) -> str:
        return f"<{type(self).__name__} to {self.url}>"


def path() -> Path:
    return user_config_path("angarium") / "login.json"


def read() -> Login:
    """The login that is in force: the environment's, or else the file's. Raises NotLoggedIn."""
    url, key = os.environ.get(URL_VARIABLE), os.environ.get(KEY_VARIABLE)
    if url and key:
        return Login(url, key)
    try:
        return Login(**json.loads(path().read_text()))
    except (OSError, ValueError, TypeError):
        raise NotLoggedIn from None


def write(login: Login) -> None:
    """Keep a login, in place of the one before."""
    file = path()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.unlink(missing_ok=True)
    # Never readable by others, not even for a moment.
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
        json.dump(asdict(login), output)


def forget() -> None:
    path().unlink(missing_ok=True)
