"""A server on the loopback that answers chat completions as a test tells it to."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Reply = tuple[int, dict[str, str], bytes]
"""Status, headers and body of an answer."""


def completion(content: object, **more: object) -> Reply:
    """A chat completion with this text."""
    message = {"role": "assistant", "content": content}
    return 200, {}, json.dumps({"choices": [{"message": message | more, "finish_reason": "stop"}]}).encode()


def classes_of(prompt: str) -> list[str]:
    """The classes that a prompt asks about."""
    return [json.loads(line[2:]) for line in prompt.split("\n\n")[1].splitlines() if line.startswith("- ")]


def told(prompt: str, count: int = 2) -> Reply:
    """A good answer to a prompt."""
    return completion(
        json.dumps({name: [f"A {name} has {n} of these." for n in range(count)] for name in classes_of(prompt)})
    )


@dataclass
class Chat:
    """What the server answers: the replies in turn, then `usual`; and what it was asked."""

    url: str = ""
    replies: list[Reply | Callable[[str], Reply]] = field(default_factory=list)
    usual: Callable[[str], Reply] = told
    prompts: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[dict] = field(default_factory=list)


@contextmanager
def chatting() -> Iterator[Chat]:
    """Such a server, until the block ends."""
    chat = Chat()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            chat.bodies.append(body | {"path": self.path})
            chat.headers.append(dict(self.headers))
            chat.prompts.append(body["messages"][0]["content"])
            reply = chat.replies.pop(0) if chat.replies else chat.usual
            status, headers, content = reply(chat.prompts[-1]) if callable(reply) else reply
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(content)

        def log_message(self, *_args):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    chat.url = f"http://127.0.0.1:{running.server_port}/v1"
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield chat
    finally:
        running.shutdown()
        running.server_close()
        thread.join()
