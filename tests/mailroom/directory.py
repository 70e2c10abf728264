"""What a BIP 77 directory answers: to requests inside OHTTP, and to plain ones. Values in, values out.

    inside OHTTP (encapsulated answers)     plain HTTP
      POST /ID   leave a message              POST /.well-known/ohttp-gateway   the way into OHTTP
      GET  /ID   read it, or wait for it      GET  /.well-known/ohttp-gateway   the gateway's keys; also at /ohttp-keys
      PUT  /ID   answer a v1 sender           GET  the same ?allowed_purposes   "BIP 77 may be forwarded here"
                                              POST /ID                          a v1 sender's original
                                              GET  /health

Answers are those of payjoin-mailroom 0.1.3, its oddities included: failures of an inner request come unencapsulated,
and two of its JSON texts are no JSON.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from payjoin_plugin.errors import DecodeError
from payjoin_plugin.wire.bhttp import Request, Response, decode_request, encode_response
from payjoin_plugin.wire.mailbox import ShortId

from .gateway import Gateway, KeyRejected, Sealer
from .store import AlreadyRead, Full, Mailboxes, NobodyWaits, Wait

GATEWAY_PATH = "/.well-known/ohttp-gateway"
"""RFC 9540 §5."""
SELF_LOOP_HEADER = "x-ohttp-self-loop-tag"
"""By it a relay says who it is, so that it does not forward to the directory of the same house."""
PURPOSE = b"BIP77 454403bb-9f7b-4385-b31f-acd2dae20b7e"
ALLOWED_PURPOSES = b"\x00\x01" + bytes([len(PURPOSE)]) + PURPOSE
"""One string. BIP 77 wants its length in bytes in front, as in ALPN; payjoin-mailroom writes the number of strings."""
LARGEST_BODY = 65536
"""Bytes of an inner POST or PUT."""

KEYS_TYPE = "application/ohttp-keys"
PURPOSES_TYPE = "application/x-ohttp-allowed-purposes"
PROBLEM_TYPE = "application/problem+json"
KEY_PROBLEM = b'{"type":"https://iana.org/assignments/http-problem-types#ohttp-key", "title": "key identifier unknown"}'
UNAVAILABLE = (
    b'{{"errorCode": "unavailable", "message": "V2 receiver offline. V1 sends require synchronous communications."}}'
)
NOT_TEXT = b'{{"errorCode": "original-psbt-rejected ", "message": "Body is not a string"}}'
V1_UNSUPPORTED = b'{"errorCode": "version-unsupported", "supported": [2], "message": "V1 is not supported"}'

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""An HTTP method, RFC 9110 §5.6.2."""
SCHEME = re.compile(r"[0-9A-Za-z+.-]*")
AUTHORITY = re.compile(r"[!$&'()*+,;=:@\[\]._~0-9A-Za-z-]+")
PATH = re.compile(r"(/[!-~]*)?")


@dataclass(frozen=True)
class Answer:
    """An HTTP response, less what HTTP itself adds."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """The answer is not the one that was asked for, and is not encapsulated."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"status {answer.status}")
        self.answer = answer


T = TypeVar("T")


@dataclass(frozen=True)
class Held(Generic[T]):
    """An answer that depends on somebody else: `served` if `wait` comes true in time, else `timed_out`."""

    wait: Wait
    served: Callable[[bytes], T]
    timed_out: Callable[[], T]
    hung_up: Callable[[], None]
    """The asking one is not there any more."""


KEY_REJECTED = Answer(400, KEY_PROBLEM, {"content-type": PROBLEM_TYPE})


class Directory:
    """One directory: its mailboxes, its gateway and its answers."""

    def __init__(self, *, v1: bool = True, gateway: Gateway | None = None, mailboxes: Mailboxes | None = None) -> None:
        self.v1 = v1
        self.gateway = gateway or Gateway()
        self.mailboxes = mailboxes or Mailboxes()
        self.self_loop_tag = secrets.token_hex(32)

    def open(self, body: bytes) -> tuple[Request, Sealer]:
        """Decapsulate a request; return it and what seals its answer. Raises Refused."""
        try:
            message, sealer = self.gateway.open(body)
            return decode_request(message), sealer
        except KeyRejected:
            raise Refused(KEY_REJECTED) from None
        except DecodeError:
            raise Refused(Answer(400)) from None

    def serve(self, request: Request, *, now: float) -> Response | Held[Response]:
        """Answer an inner request. Raises Refused."""
        if not (
            TOKEN.fullmatch(request.method)
            and SCHEME.fullmatch(request.scheme)
            and AUTHORITY.fullmatch(request.authority)
            and PATH.fullmatch(request.path)
        ):
            raise Refused(Answer(500))
        name = _only_segment(request.path)
        if name is None or request.method not in {"POST", "GET", "PUT"} or (request.method == "PUT" and not self.v1):
            return Response(404, b"")
        mailbox = _parse_id(name)
        if len(request.content) > LARGEST_BODY and request.method != "GET":
            raise Refused(Answer(413))
        try:
            match request.method:
                case "POST":
                    self.mailboxes.post(mailbox, request.content, now=now)
                case "PUT":
                    request.content.decode()  # a v1 sender expects text
                    self.mailboxes.put(mailbox, request.content)
                case _:
                    return self._poll(mailbox, now=now)
        except (UnicodeDecodeError, NobodyWaits):
            raise Refused(Answer(400)) from None
        except Full:
            # payjoin-mailroom says 500 to a POST, 503 to a GET.
            raise Refused(Answer(500 if request.method == "POST" else 503)) from None
        return Response(200, b"")

    def _poll(self, mailbox: ShortId, *, now: float) -> Response | Held[Response]:
        try:
            found = self.mailboxes.get(mailbox, now=now)
        except AlreadyRead:
            return Response(202, b"")
        if isinstance(found, bytes):
            return Response(200, found)
        wait = found

        def timed_out() -> Response:
            self.mailboxes.leave(mailbox, wait)
            return Response(202, b"")

        return Held(
            wait=wait,
            served=lambda content: Response(200, content),
            timed_out=timed_out,
            hung_up=lambda: self.mailboxes.leave(mailbox, wait),
        )

    def serve_plain(self, method: str, path: str, query: str, body: bytes, *, now: float) -> Answer | Held[Answer]:
        """Answer a plain request, other than a POST to the gateway. Raises Refused."""
        match method, path:
            case "GET", "/.well-known/ohttp-gateway" if query == "allowed_purposes":
                return Answer(200, ALLOWED_PURPOSES, {"content-type": PURPOSES_TYPE})
            case "GET", ("/.well-known/ohttp-gateway" | "/ohttp-keys"):
                return Answer(200, self.gateway.config.to_bytes(), {"content-type": KEYS_TYPE})
            case "GET", "/health":
                versions = b"[1,2]" if self.v1 else b"[2]"
                return Answer(200, b'{"versions":' + versions + b"}", {"content-type": "application/json"})
            case "GET", "/":
                return Answer(200, b"<!doctype html><title>A test mailroom</title>", {"content-type": "text/html"})
            case "POST", _:
                name = _only_segment(path)
                if name is not None:
                    return self._serve_sender(name, query, body, now=now)
        return Answer(404)

    def _serve_sender(self, name: str, query: str, body: bytes, *, now: float) -> Answer | Held[Answer]:
        """A v1 sender's POST (BIP 77, *Backwards compatibility*)."""
        if not self.v1:
            return Answer(400, V1_UNSUPPORTED, {"content-type": "application/json"})
        try:
            body.decode()
        except UnicodeDecodeError:
            return Answer(400, NOT_TEXT)
        mailbox = _parse_id(name)
        try:
            wait = self.mailboxes.post_plain(mailbox, body + b"\n" + query.encode(), now=now)
        except Full:
            return Answer(503)

        def timed_out() -> Answer:
            self.mailboxes.withdraw(mailbox, wait)
            return Answer(503, UNAVAILABLE)

        return Held(
            wait=wait,
            served=lambda content: Answer(200, content),
            timed_out=timed_out,
            hung_up=lambda: self.mailboxes.hang_up(wait),
        )

    def exchange(self, body: bytes, *, now: float) -> Answer:
        """Answer an encapsulated request where nobody waits: an empty mailbox is 202 at once.

        For tests that join a sender and a receiver in memory, without sockets and with a clock by hand.
        """
        try:
            request, sealer = self.open(body)
            response = self.serve(request, now=now)
            if isinstance(response, Held):
                response = response.timed_out()
            return Answer(200, sealer.seal(encode_response(response)))
        except Refused as refused:
            return refused.answer


def _only_segment(path: str) -> str | None:
    """`/ID` → `ID`; None for a path of more segments. A query has no meaning here (and fragments never travel)."""
    path = path.partition("?")[0].partition("#")[0] or "/"
    return None if path.count("/") != 1 else path[1:]


def _parse_id(name: str) -> ShortId:
    """The mailbox of this name, as payjoin-mailroom reads it: a 14th character changes nothing. Raises Refused."""
    try:
        return ShortId.parse(name)
    except DecodeError:
        raise Refused(Answer(400)) from None
