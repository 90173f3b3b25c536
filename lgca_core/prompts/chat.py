"""A server that speaks OpenAI's chat completions, asked with patience, and without giving its key away."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from lgca_core.errors import LgcaError

TRIES = 6  # at one question, where the server is busy or does not answer
FIRST_PAUSE = 2.0  # seconds before the second attempt; doubled before each further one
LONGEST = 300.0  # seconds that a server may ask to wait
ANSWER_LIMIT = 8 << 20  # bytes of an answer
BUSY = (408, 409, 425, 429)  # worth another attempt, as 5xx are


class Unanswered(Exception):
    """The server answered, but with no text that could be read: it may be asked again. Says why."""


class _NoRedirects(HTTPRedirectHandler):
    """A redirect would carry the key to another server, and turn the question into another one."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass
class ChatServer:
    """A model of a server, with the key that opens it.

    Attributes:
        url: address to which ``/chat/completions`` is added, such as ``https://api.example.com/v1``; http or https.
        key: sent with each question, and taken out of all that comes back; never shown, not by ``repr`` either.
        timeout: seconds that one answer may take.
        wait, clock: what passes the time between attempts, and tells it.
        waiting: called with (seconds, reason) before each wait.
    """

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    timeout: float = 300.0
    wait: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    waiting: Callable[[float, str], None] = lambda seconds, reason: None
    _reached: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            parts, host = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not host or not self.url.isascii() or " " in self.url:
            raise LgcaError("the server must be an http or https address, such as http://127.0.0.1:8000/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise LgcaError(
                f"the address of the server {host} must end with its path, without a name, password or query: give a "
                "key by an environment variable"
            )
        self.url = self.url.rstrip("/").removesuffix("/chat/completions")
        if self.key is not None and not (self.key.isascii() and self.key.isprintable() and " " not in self.key):
            raise LgcaError("the key of the server has a blank, a line's end or a letter that no key has: set it again")

    def answer(self, prompt: str) -> str:
        """What the model answers to a prompt.

        Raises:
            Unanswered: it refused, said nothing, or what came is no chat completion.
            LgcaError: the server cannot be reached, refuses the question, or stays busy.
        """
        reason = ""
        for attempt in range(TRIES):
            try:
                raw = self._post(prompt)
            except HTTPError as error:
                self._reached = True
                with error:
                    reason, said = f"{error.code} {error.reason}", self._said(error)
                if not (error.code in BUSY or error.code >= 500) or "insufficient_quota" in said:
                    raise LgcaError(self._hidden(f"{self.url} refuses ({reason}): {_message(said)}")) from None
                pause = _retry_after(error) if error.headers.get("Retry-After") else None
            except (URLError, HTTPException, OSError) as error:
                cause = getattr(error, "reason", error)
                reason = self._hidden(str(getattr(cause, "strerror", None) or cause or type(error).__name__))
                if isinstance(error, URLError) and not self._reached:
                    raise LgcaError(
                        f"{self.url} cannot be reached ({reason}): check the address, and that it runs"
                    ) from None
                pause = None
            else:
                self._reached = True
                return self._content(raw)
            pause = FIRST_PAUSE * 2**attempt if pause is None else pause
            if pause > LONGEST:
                raise LgcaError(f"{self.url} ({reason}) asks to wait {pause:.0f} s: run the same command again then")
            if attempt + 1 < TRIES:
                self.waiting(pause, reason)
                self.wait(pause)
        raise LgcaError(f"{self.url} did not answer in {TRIES} attempts ({reason}): run the same command again later")

    def _post(self, prompt: str) -> bytes:
        body = json.dumps({"model": self.model, "messages": [{"role": "user", "content": prompt}], "stream": False})
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "lgca"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        request = Request(f"{self.url}/chat/completions", body.encode(), headers, method="POST")
        began = self.clock()
        with build_opener(_NoRedirects).open(request, timeout=self.timeout) as response:
            return self._read(response, began)

    def _read(self, response: HTTPResponse, began: float) -> bytes:
        parts, size = [], 0
        while part := response.read1(1 << 16):
            parts.append(part)
            size += len(part)
            if size > ANSWER_LIMIT:
                raise LgcaError(
                    f"{self.url} answers with more than {ANSWER_LIMIT >> 20} MB: ask for fewer classes at once"
                )
            if self.clock() - began > self.timeout:
                raise TimeoutError(f"no whole answer in {self.timeout:.0f} s")
        return b"".join(parts)

    def _said(self, error: HTTPError) -> str:
        try:
            return error.read(1 << 16).decode("utf-8", "replace")
        except (HTTPException, OSError):
            return ""

    def _content(self, raw: bytes) -> str:
        text = self._hidden(raw.decode("utf-8", "replace"))
        try:
            choice = json.loads(text)["choices"][0]
            message = choice["message"]
            content = message.get("content")
            if isinstance(content, list):  # of parts
                content = "\n".join(part.get("text", "") for part in content)
            refusal = message.get("refusal")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise Unanswered(f"no chat completion came back: {_message(text)}") from None
        if refusal or choice.get("finish_reason") == "content_filter":
            raise Unanswered(f"the model refused: {_short(str(refusal or 'its answer was filtered'))}")
        if not isinstance(content, str) or not content.strip():
            raise Unanswered("the answer was empty")
        return content

    def _hidden(self, text: str) -> str:
        return text.replace(self.key, "***") if self.key else text


def _message(said: str) -> str:
    """What a server says is wrong, in half a line."""
    try:
        found = json.loads(said)
        found = found.get("error", found) if isinstance(found, dict) else found
        said = str(found.get("message", found) if isinstance(found, dict) else found)
    except (ValueError, RecursionError):
        pass
    return _short(said) or "it does not say why"


def _short(text: str) -> str:
    text = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return text if len(text) <= 200 else f"{text[:200]} ..."


def _retry_after(error: HTTPError) -> float | None:
    """Seconds to wait, from a number or a date; None where it is neither."""
    value = error.headers["Retry-After"].strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
