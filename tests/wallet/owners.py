"""Stand-ins for a wallet's sessions, as the seams see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from electrum.invoices import Request
from electrum.wallet import Abstract_Wallet

from payjoin_plugin.wallet.storage import WalletStore
from tests.wallet.wallets import created_record, plugin_storage

WRAPPED = (
    "add_payment_request",
    "get_request_URI",
    "delete_request",
    "clear_requests",
    "stop",
    "get_unused_addresses",
    "get_receiving_address",
    "is_frozen_coin",
)


class Owner:
    """Stands for a wallet's sessions, and notes what it was told."""

    def __init__(self, wallet: Abstract_Wallet) -> None:
        self.store = WalletStore(wallet, plugin_storage(wallet))
        self.added: list[str] = []
        self.imported: list[str] = []
        self.deleted: list[str] = []
        self.held: set[str] = set()
        self.reserved: set[str] = set()
        self.stops = 0

    def request_added(self, request: Request, *, imported: bool) -> None:
        if imported:
            self.imported.append(request.get_id())
            return
        self.added.append(request.get_id())
        self.store.create(f"session of {request.get_id()}", role="receiver", record=created_record(request.get_id()))

    def requests_deleted(self, request_ids: Sequence[str]) -> None:
        self.deleted.extend(request_ids)
        for request_id in request_ids:
            self.store.append(f"session of {request_id}", {"at": 2, "event": "closed", "outcome": "abort"})

    def uri_of(self, request: Request, plain: str) -> str:
        return f"{plain}&pj=HTTPS://PAYJO.IN/{request.get_id()}"

    async def stopped(self) -> None:
        self.stops += 1

    def held_addresses(self) -> set[str]:
        return self.held

    def reserved_outpoints(self) -> set[str]:
        return self.reserved


class FaultyOwner:
    """Fails at everything that it is asked."""

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError(name)


def request(wallet: Abstract_Wallet, amount_sat: int = 20_000, *, message: str = "coffee", exp: int = 3600) -> str:
    request_id: str = wallet.create_request(amount_sat, message, exp, wallet.get_unused_address())
    return request_id
