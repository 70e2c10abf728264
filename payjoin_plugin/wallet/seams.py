"""The places where we reach into one of Electrum's wallets: wraps on the instance, put on and taken off as a set.

    add_payment_request   a new on-chain request gets its session in the write that stores the request, and ends the
                          offer of an older one at its address
    get_request_URI       wherever Electrum shows or copies a request's URI, it is ours
    delete_request        a deleted request's session ends in the same write
    clear_requests        the same for all of them at once
    stop                  the only sign that a wallet closes, in the window and in the daemon
    get_unused_addresses, get_receiving_address
                          the address of an original that we hold goes to no other customer
    is_frozen_coin        a coin that a session has contributed goes into no other payment, unless the user unfreezes it

Whatever goes wrong in us is logged, and Electrum gets what it would have got without us.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..faults import own_fault
from .watching import requests_at

if TYPE_CHECKING:
    from electrum.invoices import Request
    from electrum.transaction import PartialTxInput
    from electrum.wallet import Abstract_Wallet

STOP_PATIENCE = 2
"""Seconds that a closing wallet waits for its sessions."""


class Owner(Protocol):
    """One wallet's sessions, as the seams need them. May be called from any thread."""

    def request_added(self, request: Request, *, imported: bool) -> None:
        """Take note of a new on-chain request, just before Electrum stores it; `imported`: it was made elsewhere."""

    def requests_deleted(self, request_ids: Sequence[str]) -> None:
        """Take note that requests are being deleted, just before Electrum does it."""

    def uri_of(self, request: Request, plain: str) -> str:
        """Return the URI of a request, given Electrum's own."""

    async def stopped(self) -> None:
        """Stop everything: the wallet is closing, and is saved after this."""

    def held_addresses(self) -> set[str]:
        """Return the addresses that must not be handed out again."""

    def reserved_outpoints(self) -> set[str]:
        """Return the coins (`txid:n`) that must not go into other payments."""


class Seams:
    """All the wraps on one wallet."""

    def __init__(self, wallet: Abstract_Wallet, owner: Owner) -> None:
        self._wallet, self._owner = wallet, owner
        self._installed: dict[str, Callable[..., Any]] = {}
        self._before: dict[str, Callable[..., Any]] = {}
        """What stood on the instance before us: another plugin's wrap."""

    def install(self) -> None:
        """Put the wraps on; once they are on, do nothing."""
        if self._installed:
            return
        for wrap in (
            self._add_payment_request,
            self._get_request_uri,
            self._delete_request,
            self._clear_requests,
            self._stop,
            self._get_unused_addresses,
            self._get_receiving_address,
            self._is_frozen_coin,
        ):
            wrap()

    def remove(self) -> None:
        """Take the wraps off and leave the wallet as it was.

        One that another plugin has wrapped in turn stays where it is, and only hands on.
        """
        for name, ours in self._installed.items():
            if self._wallet.__dict__.get(name) is not ours:
                continue
            if name in self._before:
                setattr(self._wallet, name, self._before[name])
            else:
                delattr(self._wallet, name)
        self._installed, self._before = {}, {}

    def _put(self, name: str, ours: Callable[..., Any]) -> None:
        if name in self._wallet.__dict__:
            self._before[name] = self._wallet.__dict__[name]
        self._installed[name] = ours
        setattr(self._wallet, name, ours)

    def _is_on(self, name: str) -> bool:
        return name in self._installed

    def _add_payment_request(self) -> None:
        original = self._wallet.add_payment_request

        def add_payment_request(req: Request, *, write_to_disk: bool = True) -> str:
            # An import writes nothing yet, and brings back requests that were offered elsewhere.
            if self._is_on("add_payment_request") and req.get_address() is not None:
                with own_fault("a new request"):
                    if self._wallet.get_request(req.get_id()) is None:
                        self._owner.request_added(req, imported=not write_to_disk)
            request_id: str = original(req, write_to_disk=write_to_disk)
            return request_id

        self._put("add_payment_request", add_payment_request)

    def _get_request_uri(self) -> None:
        original = self._wallet.get_request_URI

        def get_request_uri(req: Request) -> str | None:
            plain: str | None = original(req)
            if plain is not None and self._is_on("get_request_URI") and req.get_address() is not None:
                with own_fault("a request's URI"):
                    return self._owner.uri_of(req, plain)
            return plain

        self._put("get_request_URI", get_request_uri)

    def _delete_request(self) -> None:
        original = self._wallet.delete_request

        def delete_request(request_id: str, *, write_to_disk: bool = True) -> None:
            if self._is_on("delete_request") and self._wallet.get_request(request_id) is not None:
                with own_fault("a deleted request"):
                    self._owner.requests_deleted([request_id])
            original(request_id, write_to_disk=write_to_disk)

        self._put("delete_request", delete_request)

    def _clear_requests(self) -> None:
        original = self._wallet.clear_requests

        def clear_requests() -> None:
            if self._is_on("clear_requests"):
                with own_fault("deleted requests"):
                    self._owner.requests_deleted([one.get_id() for one in self._wallet.get_sorted_requests()])
            original()

        self._put("clear_requests", clear_requests)

    def _stop(self) -> None:
        original = self._wallet.stop

        async def stop() -> None:
            try:
                if self._is_on("stop"):
                    with own_fault("closing"):
                        async with asyncio.timeout(STOP_PATIENCE):
                            await self._owner.stopped()
            finally:  # even if we get cancelled
                await original()

        self._put("stop", stop)

    def _get_unused_addresses(self) -> None:
        original = self._wallet.get_unused_addresses

        def get_unused_addresses() -> Sequence[str]:
            addresses: Sequence[str] = original()
            if self._is_on("get_unused_addresses"):
                with own_fault("unused addresses"):
                    held = self._owner.held_addresses()
                    free = [address for address in addresses if address not in held]
                    # Who had an expired request may still pay it: its address goes to another customer last of all.
                    return sorted(free, key=lambda address: bool(requests_at(self._wallet, address)))
            return addresses

        self._put("get_unused_addresses", get_unused_addresses)

    def _get_receiving_address(self) -> None:
        original = self._wallet.get_receiving_address

        def get_receiving_address() -> str:
            address: str = original()
            if self._is_on("get_receiving_address"):
                with own_fault("a receiving address"):
                    return self._not_held(address)
            return address

        self._put("get_receiving_address", get_receiving_address)

    def _not_held(self, address: str) -> str:
        """Return `address`, or where a payment to it is held another one, by Electrum's rule for when none is unused.

        A wallet of a few imported addresses may have no other.
        """
        held = self._owner.held_addresses()
        if address not in held:
            return address
        return min(
            (other for other in self._wallet.get_receiving_addresses() if other not in held),
            key=lambda other: (self._wallet.adb.is_used(other), bool(requests_at(self._wallet, other))),
            default=address,
        )

    def _is_frozen_coin(self) -> None:
        original = self._wallet.is_frozen_coin

        def is_frozen_coin(utxo: PartialTxInput) -> bool:
            if original(utxo):
                return True
            if self._is_on("is_frozen_coin"):
                with own_fault("a reserved coin"):
                    outpoint = utxo.prevout.to_str()
                    return outpoint in self._owner.reserved_outpoints() and not is_unfrozen(self._wallet, outpoint)
            return False

        self._put("is_frozen_coin", is_frozen_coin)


def is_unfrozen(wallet: Abstract_Wallet, outpoint: str) -> bool:
    """Tell whether the user has said "Unfreeze" of a coin, ever; that is stored by Electrum, and has no public name."""
    return wallet._frozen_coins.get(outpoint) is False  # noqa: SLF001
