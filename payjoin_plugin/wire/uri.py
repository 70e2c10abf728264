"""BIP 21 URIs with a payjoin endpoint, and the names of directories and relays.

    bitcoin:ADDRESS?amount=0.001&pjos=0&pj=HTTPS://PAYJO.IN/TXJCGKTKXLUUZ%23EX1WKV8CEC-OH1QYPM59NK…-RK1Q0DJS3VV…
                                           directory        Short ID         |          |            |
      fragment, in bech32 without checksum (BIP 77, *Receiver fragment parameters*):
        EX   expiry        4 bytes, unix seconds, little-endian, at least 500000000
        OH   OHTTP key    34 bytes, key id and compressed key
        RK   receiver key 33 bytes, compressed

What is read is what rust-payjoin reads: a delimiter `+` in place of `-`, any order, unknown items, the first of two
alike; an endpoint that is no mailbox at all is one of BIP 78. `req-pj`, which BIP 77 allows, is refused like any `req-`
that is not understood, as every peer does. Host names are lower case inside, upper case in a QR code. Texts are not
trusted: everything raises `DecodeError`, with a sentence that may be shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote, unquote

from ..errors import DecodeError
from .bech32 import decode as bech32_decode
from .bech32 import encode as bech32_encode
from .keys import PublicKey
from .mailbox import ShortId
from .ohttp import KeyConfig

EARLIEST_EXPIRY = 500_000_000
"""EX is a time in the sense of nLockTime (BIP 77 by reference to consensus encoding); below this it is a height."""
LATEST_EXPIRY = 2**32 - 1
MAX_AMOUNT_SAT = 21_000_000 * 100_000_000

_URL = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]+)(?::([0-9]{1,5}))?")
_LABEL = re.compile(r"(?!-)[0-9A-Za-z-]{1,63}(?<!-)")
_PRINTABLE = re.compile(r"[!-~]*")
_AMOUNT = re.compile(r"([0-9]{1,8})(?:\.([0-9]{0,8}))?")
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_MAX_HOST = 253
_DEFAULT_PORTS = {"http": 80, "https": 443}
_KEYS = ("amount", "label", "message", "pj", "pjos")


@dataclass(frozen=True)
class PjEndpoint:
    """A receiver's mailbox (BIP 77, *Mailbox endpoint*).

    `directory` is an origin as `check_service_url` returns it, `expires_at` in unix seconds.
    """

    directory: str
    mailbox: ShortId
    expires_at: int
    ohttp_keys: KeyConfig
    receiver_key: PublicKey

    def __post_init__(self) -> None:
        if not EARLIEST_EXPIRY <= self.expires_at <= LATEST_EXPIRY:
            raise DecodeError("an expiry that is no time")


@dataclass(frozen=True)
class PayjoinUri:
    """A BIP 21 URI that offers payjoin. `address` is not checked; a `str` endpoint is the URL of a BIP 78 receiver.

    `output_substitution` is what `pjos` says; `label` and `message` are empty where the URI has none.
    """

    address: str
    amount_sat: int | None
    endpoint: PjEndpoint | str
    output_substitution: bool
    label: str
    message: str


def parse(uri: str) -> PayjoinUri:
    """Read a BIP 21 URI with `pj`. Raises `DecodeError`, also for one without."""
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme.lower() != "bitcoin":
        raise DecodeError("not a bitcoin: URI")
    address, _, query = rest.partition("#")[0].partition("?")
    if not (address.isascii() and address.isalnum()):
        raise DecodeError("a bitcoin: URI without an address")
    values = _parameters(query)
    if values.get("pjos") not in (None, "0", "1"):
        raise DecodeError("pjos must be 0 or 1")
    if "pj" not in values:
        raise DecodeError("a bitcoin: URI without payjoin")
    return PayjoinUri(
        address=address,
        amount_sat=_amount(values["amount"]) if "amount" in values else None,
        endpoint=_read_endpoint(values["pj"]),
        output_substitution=values.get("pjos") != "0",
        label=values.get("label", ""),
        message=values.get("message", ""),
    )


def append_pj(bip21_uri: str, endpoint: PjEndpoint) -> str:
    """`bip21_uri`, as Electrum makes it, with `pjos=0` and `pj` behind its own parameters.

    `pjos=0` is a promise to BIP 78 senders that the output stays as it is; senders of BIP 77 ignore it.
    """
    delimiter = "&" if "?" in bip21_uri else "?"
    return f"{bip21_uri}{delimiter}pjos=0&pj={quote(encode_endpoint(endpoint), safe=_PLAIN)}"


def encode_endpoint(endpoint: PjEndpoint) -> str:
    """The endpoint's URL: upper-case scheme and host, Short ID, fragment in the order EX, OH, RK."""
    expiry = endpoint.expires_at.to_bytes(4, "little")
    items = (("EX", expiry), ("OH", endpoint.ohttp_keys.to_compact()), ("RK", endpoint.receiver_key.compressed))
    fragment = "-".join(f"{key}1{bech32_encode(data)}" for key, data in items)
    return f"{endpoint.directory.upper()}/{endpoint.mailbox}#{fragment}"


def decode_endpoint(text: str) -> PjEndpoint:
    """Read an endpoint's URL. Raises `DecodeError`, also for an endpoint of BIP 78.

    That the Short ID is that of the receiver key is not checked: the receiver derives it and never reads it.
    """
    endpoint = _read_endpoint(text)
    if isinstance(endpoint, str):
        raise DecodeError("not the endpoint of a BIP 77 mailbox")
    return endpoint


def check_service_url(text: str) -> str:
    """The origin of a directory or relay, `scheme://host[:port]`: lower case, no default port.

    https goes for any host; http for .onion, which Tor encrypts, and for this machine. Raises `DecodeError`.
    """
    url = _split_url(text)
    if url.path not in ("", "/") or url.query or url.fragment:
        raise DecodeError("give only the scheme, the host and the port of a server, such as https://payjo.in")
    return _origin(url)


@dataclass(frozen=True)
class _Url:
    """A URL in parts. `query` and `fragment` start with their delimiter, or are None where there is not even that."""

    scheme: str
    authority: str
    path: str
    query: str | None
    fragment: str | None


def _split_url(text: str) -> _Url:
    if not _PRINTABLE.fullmatch(text):
        raise DecodeError("a URL is made of printable ASCII characters")
    match = _URL.fullmatch(text)
    if match is None:
        raise DecodeError("a URL must start with https:// or http://")
    scheme, authority, path, query, fragment = match.groups()
    if "@" in authority:
        raise DecodeError("a URL with a user name is not accepted")
    return _Url(scheme.lower(), authority, path, query, fragment)


def _host_and_port(url: _Url) -> tuple[str, int | None]:
    """The host in lower case, IPv6 shortened and in brackets, and the port unless it is the scheme's own."""
    match = _AUTHORITY.fullmatch(url.authority)
    if match is None or len(match[1]) > _MAX_HOST:
        raise DecodeError("a URL without a proper host name")
    host, port = match[1].lower(), int(match[2]) if match[2] else None
    if host.startswith("["):
        try:
            host = f"[{IPv6Address(host[1:-1]).compressed}]"
        except AddressValueError:
            raise DecodeError("a URL with a wrong IPv6 address") from None
    elif not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise DecodeError("a URL without a proper host name")
    if port is not None and not 1 <= port <= 65535:
        raise DecodeError("a URL with a port out of range")
    return host, None if port == _DEFAULT_PORTS[url.scheme] else port


def _origin(url: _Url) -> str:
    host, port = _host_and_port(url)
    if url.scheme == "http" and not (host.endswith(".onion") or _is_loopback(host)):
        raise DecodeError("http is accepted for .onion and for this machine only; use https")
    return f"{url.scheme}://{host}" + (f":{port}" if port is not None else "")


def _is_loopback(host: str) -> bool:
    if host.startswith("["):
        return IPv6Address(host[1:-1]).is_loopback
    try:
        return IPv4Address(host).is_loopback
    except AddressValueError:
        return host == "localhost"


def _read_endpoint(text: str) -> PjEndpoint | str:
    """The value of `pj`: a mailbox, or else the URL of a BIP 78 receiver (decided as rust-payjoin decides it)."""
    url = _split_url(text)
    mailbox = _mailbox(url.path)
    fragment = None if url.fragment is None else url.fragment[1:]
    if mailbox is None:
        return _bip78_endpoint(url)
    if fragment is None:
        raise DecodeError("a mailbox without its keys: is the # of its address escaped as %23?")
    if any(character.islower() for character in fragment):
        raise DecodeError("a mailbox whose parameters are not upper case")
    if not all(f"{key}1" in fragment for key in ("EX", "OH", "RK")):
        return _bip78_endpoint(url)
    items = _items(fragment)
    expiry = _item(items, "EX")
    if len(expiry) != 4:
        raise DecodeError("an EX parameter is 4 bytes")
    return PjEndpoint(
        directory=_origin(url),
        mailbox=mailbox,
        expires_at=int.from_bytes(expiry, "little"),
        ohttp_keys=KeyConfig.from_compact(_item(items, "OH")),
        receiver_key=PublicKey(_item(items, "RK")),
    )


def _mailbox(path: str) -> ShortId | None:
    """The Short ID that is all of `path`."""
    try:
        return ShortId.parse(path.removeprefix("/"))
    except DecodeError:
        return None


def _bip78_endpoint(url: _Url) -> str:
    """A URL to which an original may be sent in the clear: https, or .onion (BIP 78, *Receiver's payjoin endpoint*)."""
    host, _ = _host_and_port(url)
    if url.scheme != "https" and not host.endswith(".onion"):
        raise DecodeError("a payjoin endpoint must be https or .onion")
    return f"{url.scheme}://{url.authority}{url.path or '/'}{url.query or ''}{url.fragment or ''}"


def _items(fragment: str) -> list[str]:
    delimiter = "-" if "-" in fragment else "+"
    if "-" in fragment and "+" in fragment:
        raise DecodeError("a mailbox whose parameters have two kinds of delimiters")
    if not re.fullmatch(r"[0-9A-Z+-]*", fragment):
        raise DecodeError("a mailbox whose parameters have a strange character")
    return fragment.split(delimiter)


def _item(items: list[str], key: str) -> bytes:
    """The data of the first item of that name."""
    prefix = f"{key}1"
    found = next((item for item in items if item.startswith(prefix)), None)
    if found is None:
        raise DecodeError(f"a mailbox without its parameter {key}")
    return bech32_decode(found.removeprefix(prefix))


def _parameters(query: str) -> dict[str, str]:
    """The parameters of BIP 21 that we know, decoded; others are ignored, `req-` ones refused."""
    values: dict[str, str] = {}
    for parameter in query.split("&") if query else ():
        key, equals, value = parameter.partition("=")
        if not equals:
            raise DecodeError("a parameter of a bitcoin: URI without a value")
        if key.startswith("req-"):
            raise DecodeError("a bitcoin: URI that requires something unknown")
        if key in values:
            raise DecodeError(f"a bitcoin: URI with two values for {key}")
        if key in _KEYS:
            values[key] = _unescape(value)
    return values


def _unescape(value: str) -> str:
    """Strict percent-decoding; a `+` stays one (RFC 3986, section 2.1)."""
    if _PERCENT.search(value):
        raise DecodeError("a bitcoin: URI with a wrong escape")
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise DecodeError("a bitcoin: URI with a text that is not UTF-8") from None


def _amount(text: str) -> int:
    """Satoshis of a decimal number of bitcoins."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise DecodeError("a bitcoin: URI with a wrong amount")
    amount_sat = int(match[1]) * 100_000_000 + int((match[2] or "").ljust(8, "0"))
    if amount_sat > MAX_AMOUNT_SAT:
        raise DecodeError("a bitcoin: URI with a wrong amount")
    return amount_sat


_PLAIN = "!$'()*+,;:@/?"
"""What may stand in a value unescaped, beside letters, digits and `-._~`: RFC 3986's query without `&` and `=`."""
