"""A sender's coin on a chain, the servers that know it, and a look-up that asks them."""

from __future__ import annotations

from typing import Any

from electrum.transaction import Transaction

from payjoin_plugin.wallet.chain import ChainLookUp, OnChain
from tests.wallet.servers import Chain, Network, Server, Session, wallet_on
from tests.wallet.wallets import foreign_outpoint, run, transaction

ALICE = SCRIPT = bytes.fromhex("0014751e76e8199196d454941c45d1b3a323f1433bd6")
BOB = bytes.fromhex("00141863143c14c5166804bd19203356da136c985678")


class Setting:
    """A chain with one coin of the sender's, and a look-up that asks about it."""

    def __init__(self, *names: str) -> None:
        self.chain = Chain()
        self.funding = transaction([foreign_outpoint("x")], [(BOB, 1_000), (ALICE, 50_000)])
        self.coin = f"{self.chain.add(self.funding, height=120)}:1"
        self.servers = [Server(name, self.chain) for name in names or ("main",)]
        self.network = Network(*self.servers)
        self.look_up = ChainLookUp(wallet_on(self.network))

    def session(self, number: int = 0) -> Session:
        session = self.servers[number].session
        assert session is not None
        return session

    def ask(self, **known: Any) -> OnChain:
        return run(self.look_up.look_up({self.coin: SCRIPT}, **known))[self.coin]


def raw(tx: Transaction) -> bytes:
    return bytes.fromhex(tx.serialize())


def known_as(
    previous: Transaction | None,
    *,
    unspent: bool = False,
    confirmed_at: int = 0,
    spender: Transaction | None = None,
    spent_at: int = 0,
) -> OnChain:
    return OnChain(
        previous_tx=None if previous is None else raw(previous),
        unspent=unspent,
        spender=None if spender is None else raw(spender),
        spent_at=spent_at,
        confirmed_at=confirmed_at,
    )
