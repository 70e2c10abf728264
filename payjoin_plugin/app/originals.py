"""The senders' own payments that lie in our hands: each is money until the chain has settled its coins.

They stand outside the logs, where Electrum keeps them even without us (wallet/kept.py). What speaks against sending one
is in `objections`, and what becomes of them when we are taken out in `handover`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from electrum.bitcoin import is_address
from electrum.i18n import _
from electrum.interface import RequestTimedOut, TxBroadcastError, TxBroadcastServerReturnedError
from electrum.logging import Logger
from electrum.network import BestEffortRequestFailed, UntrustedServerReturnedError
from electrum.transaction import Transaction

from ..bip78.psbt import parse_transaction
from ..errors import DecodeError, Unreachable, UserError
from ..session.receiver import created_of, held_original
from ..wallet.chain import BUSY
from ..wallet.kept import KeptOriginal
from ..wallet.spenders import Fate, fate_of
from ..wallet.watching import confirmations
from .ledger import ReceiverSession, now

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from electrum.interface import Interface
    from electrum.transaction import TxOutput
    from electrum.wallet import Abstract_Wallet

    from ..bip78.original import Original
    from ..wallet.chain import ChainLookUp
    from ..wallet.storage import WalletStore

DEEP = 6
"""Blocks under which a transaction is taken for final, as is the custom: what a deeper one spends is money no longer.
Until then a reorg may undo the block, and with it the reason why a payment was not to be had any more."""
AN_HOUR = 3600
UNHEARD = 60.0
"""Seconds for which the wallet may not have heard yet of what we broadcast ourselves."""
LOST_AFTER = 14 * 24 * AN_HOUR
"""Seconds for which nobody knows what made a coin, after which nobody is waited for any more: nodes keep what is in no
block for two weeks. The log has the payment for ever, should its parent come back after all."""


class Originals(Logger):
    """One wallet's kept payments."""

    def __init__(self, wallet: Abstract_Wallet, store: WalletStore, chain: ChainLookUp) -> None:
        Logger.__init__(self)
        self._wallet, self._store, self._chain = wallet, store, chain
        self._read: dict[tuple[str, str, str | None], Transaction | None] = {}
        """What was read of a txid, its bytes (hex) and its request's address: None where they are damaged."""
        self._to_us: dict[str, list[TxOutput]] = {}
        """Txid → the outputs that pay us. To write an address costs more than all else of a look at two hundred."""
        self._spent: set[str] = set()
        """The payments (txid) whose coins are spent in a block, by the server's last word."""
        self._sent: dict[str, tuple[float, set[str]]] = {}
        """What we broadcast in this run (txid): when (its seconds), and which addresses of ours it pays."""
        self._missed_at: dict[str, float] = {}
        """Since when (seconds of this run) the server knows nothing of what made a coin of a payment (txid)."""

    def kept(self) -> dict[str, KeptOriginal]:
        """Return the kept payments by session, of which several may hold the same one.

        One that cannot be read is left out, and stays where it is.
        """
        return {one.session_id: one for one in self._store.kept.all() if self._parsed(one) is not None}

    def may_be_mined(self, txid: str) -> bool:
        """Tell whether a payment is kept, and no block spends its coins, by the server's last word.

        The others are not looked at: a screen asks for each of hundreds.
        """
        return txid not in self._spent and self._store.kept.has(txid)

    def held_addresses(self) -> set[str]:
        """Return the addresses of the requests for which payments are kept."""
        kept = self.kept().values()
        # Not what it pays beside: who pays a little to each of our addresses would leave us none.
        return {one.address for one in kept if one.address is not None} | {
            txout.address for one in kept if one.address is None for txout in self.payments_to_us(one)
        }

    def of_session(self, session_id: str) -> KeptOriginal | None:
        """Return the kept payment of a session, whatever has become of its log."""
        return self.kept().get(session_id)

    def still(self, kept: KeptOriginal) -> KeptOriginal | None:
        """Return a kept payment as it stands now; None where it is kept no more."""
        return next((one for one in self.holds(kept.txid) if one.session_id == kept.session_id), None)

    def has_visible_spender(self, kept: KeptOriginal) -> bool:
        """Tell whether the wallet sees a kept payment's coins spent in the mempool or in a block."""
        return any(
            spender is not None and confirmations(self._wallet, spender) is not None
            for spender in self.spenders_seen(kept)
        )

    def is_known(self, kept: KeptOriginal) -> bool:
        """Tell whether the wallet has a kept payment, or anything else that spends a coin of it, seen or local."""
        return self._wallet.db.get_transaction(kept.txid) is not None or any(self.spenders_seen(kept))

    def holds(self, txid: str) -> list[KeptOriginal]:
        """Return a payment for each session that holds it."""
        return [one for one in self._store.kept.of(txid) if self._parsed(one) is not None]

    def pays_alike(self, kept: KeptOriginal, raw: bytes) -> bool:
        """Tell whether the transaction `raw` pays an address of ours that a kept payment pays."""
        ours = {txout.scriptpubkey for txout in self.payments_to_us(kept)}
        return any(txout.scriptpubkey in ours for txout in Transaction(raw).outputs())

    def drop_settled(self, every: Iterable[KeptOriginal]) -> None:
        """Forget those payments of whose coins a transaction of this wallet spends one, deep in the chain."""
        for kept in every:
            spenders = (spender for spender in self.spenders_seen(kept) if spender is not None)
            if any((confirmations(self._wallet, spender) or 0) >= DEEP for spender in spenders):
                self._store.kept.drop(kept.txid)

    async def fate(self, kept: KeptOriginal) -> Fate:
        """Ask the Electrum server what became of a payment's coins, where nothing else says which they are.

        Raises Unreachable.
        """
        scripts = await self._scripts_of(self.transaction(kept))
        if scripts is None:
            return self._note(kept.txid, Fate((), vanished=True), has_log=False)
        return await self.fate_of(kept.txid, scripts, has_log=False)

    async def fate_of(self, txid: str, scripts: Mapping[str, bytes], *, has_log: bool = True) -> Fate:
        """Ask the same, knowing the scriptPubKeys that a payment spends from, by outpoint. Raises Unreachable.

        What a block spends is handed over to nobody, though the block may yet be undone; deep enough, it is forgotten.
        So is what nobody knows a coin of for long, unless it is the only copy (no `has_log`), or a coin of ours that is
        out beside it is not spent: the payjoin would be good again, too, and must find the address nobody else's.
        """
        return self._note(txid, await fate_of(self._wallet, self._chain, scripts), has_log=has_log)

    def _note(self, txid: str, fate: Fate, *, has_log: bool) -> Fate:
        is_lost = self._is_lost(txid, vanished=fate.vanished) and has_log
        is_let_go = is_lost and not any(self._may_come_back(one) for one in self.holds(txid))
        if is_let_go or any(spender.depth >= DEEP for spender in fate.spenders):
            self._store.kept.drop(txid)
        if any(spender.confirmed for spender in fate.spenders):
            self._spent.add(txid)
        else:
            self._spent.discard(txid)
        return fate

    def _may_come_back(self, kept: KeptOriginal) -> bool:
        """Tell whether a payjoin is out beside a payment, none of whose coins of ours a block spends."""
        spenders = [self._wallet.db.get_spent_outpoint(*outpoint.split(":")) for outpoint in kept.contributed]
        return bool(spenders) and not any(one is not None and confirmations(self._wallet, one) for one in spenders)

    def _is_lost(self, txid: str, *, vanished: bool) -> bool:
        """Note whether what made a payment's coins has `vanished`, and tell whether that has been so for long.

        One word of one server is not enough: a second one counts, of this run and an hour later.
        """
        if not vanished:
            self._missed_at.pop(txid, None)
            self._store.kept.mark_vanished(txid, None)
            return False
        first_word = self._missed_at.setdefault(txid, time.monotonic())  # which no wrong clock makes an hour of
        since = next((one.vanished_at for one in self.holds(txid) if one.vanished_at is not None), now())
        self._store.kept.mark_vanished(txid, since)
        return now() - since >= LOST_AFTER and time.monotonic() - first_word >= AN_HOUR

    def is_spent(self, kept: KeptOriginal) -> bool:
        """Tell whether a block spends a payment's coins, by the server's last word."""
        return kept.txid in self._spent

    async def broadcast(self, tx: str, server: Interface) -> None:
        """Hand a payment (hex) to this one server. What is known of it is to be on disk (`save`).

        Electrum's own function goes on to the next connection, on which the wallet may not know yet that the request
        is paid. Raises Unreachable, and UserError where the network refuses it.
        """
        sent = Transaction(tx)
        paid = {txout.address for txout in sent.outputs() if self._wallet.is_mine(txout.address)}
        txid, before = str(sent.txid()), self._sent.get(str(sent.txid()))
        self._sent[txid] = time.monotonic(), paid
        try:
            if server.session is None:
                raise Unreachable(_("Electrum is offline"))
            await server.broadcast_transaction(Transaction(tx))
        except TxBroadcastError as error:
            if isinstance(error, TxBroadcastServerReturnedError) and before is None:
                self._sent.pop(txid, None)
            raise UserError(" ".join(error.get_message_for_gui().split())) from error
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise Unreachable(_("the Electrum server did not answer")) from None  # the connection has ended
        except (RequestTimedOut, TimeoutError) as error:
            await server.close()  # as Electrum does: it takes another one, and all begins anew when that is up to date
            raise Unreachable(_("the Electrum server did not answer")) from error

    def was_sent_beside(self, kept: KeptOriginal) -> bool:
        """Tell whether we sent another payment to an address of this one just now, and the wallet has not heard yet."""
        ours = {txout.address for txout in self.payments_to_us(kept)}
        return any(
            txid != kept.txid
            and not ours.isdisjoint(paid)
            and time.monotonic() - at < UNHEARD
            and confirmations(self._wallet, txid) is None
            for txid, (at, paid) in self._sent.items()
        )

    async def save(self) -> None:
        """Return when all that is known of the payments is on disk. Raises OSError."""
        await self._store.flush()

    def _parsed(self, kept: KeptOriginal) -> Transaction | None:
        key = kept.txid, kept.tx, kept.address
        if key not in self._read:
            is_sound = kept.address is None or is_address(kept.address)
            self._read[key] = _transaction(kept.tx, kept.txid) if is_sound else None
        return self._read[key]

    def transaction(self, kept: KeptOriginal) -> Transaction:
        """Return a payment that can be read, as all of `kept` can."""
        tx = self._parsed(kept)
        assert tx is not None
        return tx

    def spenders_seen(self, kept: KeptOriginal) -> list[str | None]:
        """Return the transactions of this wallet that spend a kept payment's coins, for each coin."""
        return [
            self._wallet.db.get_spent_outpoint(txin.prevout.txid.hex(), str(txin.prevout.out_idx))
            for txin in self.transaction(kept).inputs()
        ]

    def payments_to_us(self, kept: KeptOriginal) -> list[TxOutput]:
        """Return the outputs of a kept payment that paid us when it was first looked at."""
        if kept.txid not in self._to_us:
            outputs = self.transaction(kept).outputs()
            self._to_us[kept.txid] = [txout for txout in outputs if self._wallet.is_mine(txout.address)]
        return self._to_us[kept.txid]

    def paid_addresses(self, kept: KeptOriginal) -> set[str]:
        """Return the addresses of ours at which the requests of a kept payment wait."""
        named = {one.address for one in (kept, *self.holds(kept.txid)) if one.address is not None}
        ours = {address for address in named if self._wallet.is_mine(address)}
        return ours or {txout.address for txout in self.payments_to_us(kept)}

    async def _scripts_of(self, tx: Transaction) -> dict[str, bytes] | None:
        """Fetch the scripts that a payment spends from, by outpoint; None if one is not known. Raises Unreachable."""
        if self._wallet.network is None:
            raise Unreachable(_("Electrum is offline"))
        scripts = {}
        for txin in tx.inputs():
            try:
                raw = await self._wallet.network.get_transaction(txin.prevout.txid.hex())
            except UntrustedServerReturnedError as error:
                if getattr(error.original_exception, "code", None) in BUSY:
                    raise Unreachable(_("the Electrum server is busy")) from error
                return None
            except (BestEffortRequestFailed, TimeoutError) as error:
                raise Unreachable(str(error) or _("the Electrum server did not answer")) from error
            scripts[txin.prevout.to_str()] = Transaction(raw).outputs()[txin.prevout.out_idx].scriptpubkey
        return scripts


def in_log(session: ReceiverSession) -> KeptOriginal | None:
    """Return the sender's payment that a session's log has, in the form in which it is kept beside it."""
    original = held_original(session.state)
    if original is None:
        return None
    created = created_of(session.state)
    bare = KeptOriginal(original.txid, original.fallback.hex(), session.id, created.request_id, label="", at=0)
    return replace(bare, address=created.address, amount_sat=created.amount_sat)


def scripts_of(original: Original | None) -> dict[str, bytes] | None:
    """Return the scriptPubKeys that an original spends from, by outpoint; None where its log cannot be read."""
    return None if original is None else original.input_scripts


def _transaction(raw: str, txid: str) -> Transaction | None:
    """Return a transaction (hex), if that is what it is and its name is right."""
    try:
        tx = parse_transaction(bytes.fromhex(raw))
    except (DecodeError, ValueError):
        return None
    return tx if tx.txid() == txid else None
