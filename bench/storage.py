"""What a session writes, and how long a payjoin waits for the disk in wallets of several sizes, plain and encrypted.

Electrum writes its whole file at each save and holds the wallet's lock meanwhile. So two things are timed: how long a
flush takes, which the sender waits for, and how long the event loop stands still while it goes on. And how long a read
of the wallet on another thread waits, as Qt's does when it paints.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from electrum.wallet import Abstract_Wallet

from bench.ground import Ground
from bench.history import LOG
from bench.table import Figure, figure
from payjoin_plugin.wallet.storage import WalletStore
from tests.wallet.wallets import PASSWORD, electrum_running, make_wallet, plugin_storage, run

SIZES_MB = (0, 1, 10, 50)
RUNS = 5
NEEDED = ("retrieved_original.original", "signed_proposal.proposal", "committed_contribution.outpoints")
"""What history and original need besides the small things; the other texts over 60 characters could go at the close."""


def measure(ground: Ground) -> list[Figure]:
    """Write a session's events into wallets of growing size."""
    events: list[dict[str, Any]] = json.loads(LOG.read_text())["log"]["events"]
    kept = [{name: value for name, value in event.items() if _is_needed(event, name, value)} for event in events]
    figures = [
        figure("a completed session's log", [_stored_kb(events)], unit="kB"),
        figure("the same, without what its history and original do not need", [_stored_kb(kept)], unit="kB"),
    ]
    with electrum_running():
        for encrypted in (False, True):
            for size in SIZES_MB:
                name = f"{size} MB {'encrypted' if encrypted else 'plain'}"
                wallet = _wallet(ground.folder / name.replace(" ", "-"), size, encrypted=encrypted)
                found = [run(_payjoin(wallet, f"{number:016x}", events)) for number in range(RUNS)]
                ground.say(f"storage: {name}: flush, loop stands still, a read waits, saves: {found[-1]}")
                figures += [
                    figure(f"{name}: a payjoin waits for the disk", [flush for flush, _, _, _ in found]),
                    figure(f"{name}: the event loop stands still", [still for _, still, _, _ in found]),
                    figure(f"{name}: a read on Qt's thread waits", [read for _, _, read, _ in found]),
                    figure(f"{name}: saves of ours a payjoin", [saves for _, _, _, saves in found], unit="1"),
                ]
    return figures


async def _payjoin(
    wallet: Abstract_Wallet, session_id: str, events: list[dict[str, Any]]
) -> tuple[float, float, float, int]:
    """Record a payjoin and flush it as the runner does, while another session wants to record something.

    Returns how long that took, the longest that the loop stood still and that a read waited (seconds), and the saves.
    """
    store = WalletStore(wallet, plugin_storage(wallet))
    store.create(session_id, role="receiver", record=events[0])
    wallet.save_db()  # Electrum's own, of the request
    for event in events[1:5]:
        store.append(session_id, event)
    began, longest = time.monotonic(), 0.0
    flushing = asyncio.ensure_future(store.flush())
    other = asyncio.ensure_future(_record_elsewhere(store, f"f{session_id[1:]}", events[0]))
    reading = asyncio.ensure_future(asyncio.to_thread(_longest_read, wallet, flushing.done))
    while not flushing.done():
        before = time.monotonic()
        await asyncio.sleep(0.001)
        longest = max(longest, time.monotonic() - before)
    waited = time.monotonic() - began
    await other
    return waited, longest, await reading, store.saves


def _longest_read(wallet: Abstract_Wallet, done: Callable[[], bool]) -> float:
    """Read the wallet again and again, as a window does, until `done()`; return the longest read in seconds."""
    longest = 0.0
    while not done():
        before = time.monotonic()
        wallet.db.get_transaction("00" * 32)  # takes the lock, and finds nothing
        longest = max(longest, time.monotonic() - before)
        time.sleep(0.001)
    return longest


async def _record_elsewhere(store: WalletStore, session_id: str, event: Mapping[str, Any]) -> None:
    await asyncio.sleep(0.005)
    await store.quiet()
    store.create(session_id, role="receiver", record=event)


def _wallet(folder: Path, size_mb: int, *, encrypted: bool) -> Abstract_Wallet:
    """Make a wallet file of that size; random text, since Electrum compresses what it encrypts."""
    folder.mkdir()
    secret: dict[str, Any] = {"password": PASSWORD, "encrypt_file": True} if encrypted else {}
    wallet = make_wallet(folder, on_disk=True, **secret)
    wallet.db.put("filler", {str(number): os.urandom(2000).hex() for number in range(size_mb * 250)})
    wallet.save_db()
    return wallet


def _stored_kb(events: list[dict[str, Any]]) -> float:
    """Return the size as Electrum writes it, indented."""
    return len(json.dumps({"format": 1, "role": "receiver", "events": events}, indent=4)) / 1000


def _is_needed(event: Mapping[str, Any], name: str, value: object) -> bool:
    return not isinstance(value, str) or len(value) < 60 or f"{event['event']}.{name}" in NEEDED
