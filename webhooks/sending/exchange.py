"""One exchange's budget of time and bytes, and the sockets that hold every call to it."""

import socket
import ssl
from collections.abc import Buffer
from http.client import HTTPException
from time import monotonic
from typing import Any

from webhooks.sending.outcome import OutcomeKind
