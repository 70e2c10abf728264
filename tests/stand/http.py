"""The little HTTP that the stand itself speaks: JSON-RPC to node and wallet, a GET, a POST."""

import base64
import http.client
import json
from typing import Any
from urllib.parse import urlsplit

SECONDS = 60.0


class BadAnswer(Exception):
    """Somebody answers, but not with JSON-RPC; the text says with what."""


def request(
    method: str,
    url: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    *,
    seconds: float = SECONDS,
) -> tuple[int, bytes]:
    """Make one request, never through a proxy, and return status and body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=seconds)
    try:
        # A relay's path holds a whole URL, which must stay as it is.
        path = url.split(parts.netloc, 1)[1] or "/"
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def json_rpc(
    url: str,
    user: str,
    password: str,
    method: str,
    params: Any,
    *,
    seconds: float = SECONDS,
) -> dict[str, Any]:
    """Call a JSON-RPC method and return the answer's object, with `result` or `error`.

    Raises:
        OSError: nobody answers.
        BadAnswer: somebody does, but not with JSON-RPC.
    """
    credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
    call = {"jsonrpc": "2.0", "id": 0, "method": method, "params": params}
    status, body = request("POST", url, json.dumps(call).encode(), headers, seconds=seconds)
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        text = body.decode(errors="replace")[:200]
        raise BadAnswer(f"{method}: HTTP {status}, {text!r}")
    return answer
