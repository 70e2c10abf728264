"""Users share Electrum's log file when they ask for help: it must not tell who paid whom, nor hold a key.

This looks at every log file and every wallet file that the tests of this level have made so far.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pytest

from payjoin_plugin.errors import UnreadableLog
from payjoin_plugin.session.events import Created
from payjoin_plugin.session.log import decode_record
from payjoin_plugin.session.receiver import WaitingForOriginal
from payjoin_plugin.wire.uri import encode_endpoint
from tests.interop.conftest import new_wallet
from tests.interop.receiver import Receiver
from tests.interop.sender import AMOUNT, assert_paid_by_payjoin, new_sender
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)

OURS = "electrum_external_plugins.payjoin"
BEGIN = re.compile(r"^ *\d+\.\d\d \| ([A-Z]) \| (.+?) \| ")
TOKEN = re.compile(r"[0-9A-Za-z+/=]{10,}")
WORD = re.compile(r"[a-z]{1,20}\Z")
ADDRESS_OR_TXID = re.compile(r"(bcrt1[0-9a-z]+|[0-9a-f]{64})\Z")


@dataclass
class Line:
    """One message with all that belongs to it, such as a traceback."""

    name: str
    text: str

    @property
    def tokens(self) -> set[str]:
        return set(TOKEN.findall(self.text))


def lines_of(log: str) -> Iterator[Line]:
    """Split a log file."""
    current: Line | None = None
    for text in log.splitlines():
        if (match := BEGIN.match(text)) is not None:
            if current is not None:
                yield current
            current = Line(match[2], text)
        elif current is not None:
            current.text += "\n" + text
    if current is not None:
        yield current


def leaks(lines: Iterable[Line], secrets: set[str]) -> list[str]:
    """Return the messages that tell one of `secrets`.

    Addresses and transaction IDs stand in Electrum's own messages anyway: they count in ours alone.
    """
    keys = {secret for secret in secrets if not ADDRESS_OR_TXID.match(secret)}
    return [line.text for line in lines if line.tokens & (secrets if line.name.startswith(OURS) else keys)]


def texts(value: Any) -> Iterator[str]:
    """Yield every text in something that was JSON, the keys of objects too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(key)
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def secrets_of(part: dict[str, Any]) -> set[str]:
    """Return what must not be told of what we stored in a wallet: each key, PSBT, address, coin, ID; and each `pj`."""
    found = {token for text in texts(part) for token in TOKEN.findall(text) if not WORD.match(token)}
    sessions = part.get("sessions", {})
    for log in sessions.values() if isinstance(sessions, dict) else ():
        try:
            created = decode_record(log["events"][0]).event
        except (UnreadableLog, TypeError, IndexError):  # damaged on purpose
            continue
        if isinstance(created, Created):
            found.update(TOKEN.findall(encode_endpoint(WaitingForOriginal(created).endpoint)))
    return found


def test_a_leak_would_be_found() -> None:
    key, txid, psbt = "A1" * 32, "c0d1" * 16, "cHNidP8BAHECAAAAAQ=="
    innocent = f"  1.00 | I | network | received {txid}"
    ours = f" 21.01 | D | {OURS}.ledger.Ledger | contributed {txid}:0"
    theirs = f"321.02 | E | daemon | a fault\nValueError: {key}"
    foreign = f"321.03 | I | asyncio | cannot do {psbt!r}"
    log = f"{innocent}\n{ours}\n{theirs}\n{foreign}\n"
    assert leaks(lines_of(log), {key, txid, psbt}) == [ours, theirs, foreign]
    stored = {"sessions": {}, "seen": [[f"{txid}:1", "0123456789abcdef"]], "event": "committed_contribution"}
    assert secrets_of(stored) == {txid, "0123456789abcdef"}


def test_the_log_files_tell_nothing(stand: Stand, daemon: Receiver) -> None:
    receiver, sender = new_wallet(stand, daemon, 1_000_000), new_sender(stand)
    request = receiver.payjoin_request(AMOUNT)
    assert_paid_by_payjoin(stand, receiver, request, sender, sender.send(request["URI"]))
    receiver.daemon.close_wallet(receiver.wallet)

    secrets: set[str] = set()
    for file in [file for one in stand.daemons.values() for file in (one.data / "wallets").iterdir()]:
        text = file.read_text()
        if text.startswith("{"):  # the others have a password
            stored = json.loads(text)
            secrets |= secrets_of(stored.get("plugin_data", {}).get("payjoin", {}))
            secrets |= secrets_of({"originals": stored.get("payjoin_originals", {})})
    session_id, address = request["payjoin"]["session_id"], request["address"]
    assert {session_id, address, *TOKEN.findall(unquote(request["URI"]).partition("pj=")[2])} - secrets == set()

    logs = [one.log.read_text(errors="replace") for one in stand.daemons.values()]
    lines = [line for log in logs for line in lines_of(log)]
    assert any(line.name.startswith(OURS) for line in lines)
    assert leaks(lines, secrets) == []
