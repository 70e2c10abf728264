"""The senders' own payments that lie in our hands: each is money until the chain has settled its coins.

They stand outside the logs, where Electrum keeps them even without us (wallet/storage.py). None is made a local
transaction of Electrum's while we live: that would count as balance, and its output would be spent. They become some
when we are taken out; and one that lost its session by that stays one, since nothing of ours could broadcast it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from electrum.i18n import _
from electrum.interface import RequestTimedOut, TxBroadcastError
from electrum.logging import Logger
from electrum.network import BestEffortRequestFailed, UntrustedServerReturnedError
from electrum.transaction import Transaction

from ..bip78.psbt import parse_transaction
from ..errors import DecodeError, Unreachable, UserError
from ..wallet.chain import BUSY
from ..wallet.spenders import Fate, fate_of
from ..wallet.watching import arrived_sat, confirmations, local_payments, request_paid, requests_at
from .ledger import now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from electrum.interface import Interface
    from electrum.transaction import TxOutput
    from electrum.wallet import Abstract_Wallet

    from ..wallet.chain import ChainLookUp
    from ..wallet.kept import KeptOriginal
    from ..wallet.storage import WalletStore

DEEP = 6
"""Blocks under which a transaction is taken for final, as is the custom: what a deeper one spends is money no longer.
Until then a reorg may undo the block, and with it the reason why a payment was not to be had any more."""
AN_HOUR = 3600
DOUBT = 600.0
"""Seconds for which a payment that was seen is taken to come back: a server that was restarted knows no mempool for
minutes."""
LOST_AFTER = 14 * 24 * AN_HOUR
"""Seconds for which nobody knows what made a coin, after which nobody is waited for any more: nodes keep what is in no
block for two weeks. The log has the payment for ever, should its parent come back after all."""


class Originals(Logger):
    """One wallet's kept payments."""

    def __init__(self, wallet: Abstract_Wallet, store: WalletStore, chain: ChainLookUp) -> None:
        Logger.__init__(self)
        self._wallet, self._store, self._chain = wallet, store, chain
        self._read: dict[tuple[str, str], Transaction | None] = {}
        """What was read of a txid and its bytes (hex): None where they are damaged."""
        self._to_us: dict[str, list[TxOutput]] = {}
        """Txid → the outputs that pay us. To write an address costs more than all else of a look at two hundred."""
        self._spent: set[str] = set()
        """The payments (txid) whose coins are spent in a block, by the server's last word."""
        self._doubted_at: dict[str, float] = {}
        """Since when (seconds of this run) another payment of a session's request is here and not seen."""
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
        """Return the addresses of ours that kept payments pay."""
        return {txout.address for kept in self.kept().values() for txout in self._payments_to_us(kept)}

    def unseen(self) -> dict[str, int]:
        """Return the kept payments (txid) of whose coins nobody has seen any spent, and what each pays us (sat).

        They are lost where nobody broadcasts them. What is paid otherwise is none: it would charge the sender twice.
        """
        return {
            kept.txid: sum(txout.value for txout in self._payments_to_us(kept))
            for kept in self.kept().values()
            if not (any(self._spenders_seen(kept)) or self.is_spent(kept) or self.is_paid(kept)) and self.is_ours(kept)
        }

    def of_session(self, session_id: str) -> KeptOriginal | None:
        """Return the kept payment of a session, whatever has become of its log."""
        return self.kept().get(session_id)

    def still(self, kept: KeptOriginal) -> KeptOriginal | None:
        """Return a kept payment as it stands now; None where it is kept no more."""
        return next((one for one in self._store.kept.of(kept.txid) if one.session_id == kept.session_id), None)

    def has_visible_spender(self, kept: KeptOriginal) -> bool:
        """Tell whether the wallet sees a kept payment's coins spent in the mempool or in a block."""
        return any(
            spender is not None and confirmations(self._wallet, spender) is not None
            for spender in self._spenders_seen(kept)
        )

    def pays_alike(self, kept: KeptOriginal, raw: bytes) -> bool:
        """Tell whether the transaction `raw` pays an address of ours that a kept payment pays."""
        ours = {txout.scriptpubkey for txout in self._payments_to_us(kept)}
        return any(txout.scriptpubkey in ours for txout in Transaction(raw).outputs())

    def drop_settled(self) -> None:
        """Forget the payments whose coins a transaction of this wallet spends, deep in the chain."""
        for kept in self.kept().values():
            spenders = (spender for spender in self._spenders_seen(kept) if spender is not None)
            if any((confirmations(self._wallet, spender) or 0) >= DEEP for spender in spenders):
                self._store.kept.drop(kept.txid)

    async def fate(self, kept: KeptOriginal) -> Fate:
        """Ask the Electrum server what became of a payment's coins, where nothing else says which they are.

        Raises Unreachable.
        """
        scripts = await self._scripts_of(self._transaction(kept))
        if scripts is None:
            return self._note(kept.txid, Fate((), vanished=True), has_log=False)
        return await self.fate_of(kept.txid, scripts, has_log=False)

    async def fate_of(self, txid: str, scripts: Mapping[str, bytes], *, has_log: bool = True) -> Fate:
        """Ask the same, knowing the scriptPubKeys that a payment spends from, by outpoint. Raises Unreachable.

        What a block spends is handed over to nobody, though the block may yet be undone; deep enough, it is forgotten.
        """
        return self._note(txid, await fate_of(self._wallet, self._chain, scripts), has_log=has_log)

    def _note(self, txid: str, fate: Fate, *, has_log: bool) -> Fate:
        is_lost = self._is_lost(txid, vanished=fate.vanished) and has_log  # else it is the only copy that there is
        if is_lost or any(spender.depth >= DEEP for spender in fate.spenders):
            self._store.kept.drop(txid)
        if any(spender.confirmed for spender in fate.spenders):
            self._spent.add(txid)
        else:
            self._spent.discard(txid)
        return fate

    def _is_lost(self, txid: str, *, vanished: bool) -> bool:
        """Note whether what made a payment's coins has `vanished`, and tell whether that has been so for long.

        One word of one server is not enough: a second one counts, of this run and an hour later.
        """
        if not vanished:
            self._missed_at.pop(txid, None)
            self._store.kept.mark_vanished(txid, None)
            return False
        first_word = self._missed_at.setdefault(txid, time.monotonic())  # which no wrong clock makes an hour of
        since = next((one.vanished_at for one in self._store.kept.of(txid) if one.vanished_at is not None), now())
        self._store.kept.mark_vanished(txid, since)
        return now() - since >= LOST_AFTER and time.monotonic() - first_word >= AN_HOUR

    def is_spent(self, kept: KeptOriginal) -> bool:
        """Tell whether a block spends a payment's coins, by the server's last word."""
        return kept.txid in self._spent

    def is_paid(self, kept: KeptOriginal) -> bool:
        """Tell whether mempool and blocks pay already what a kept payment is for: it would charge the sender twice.

        That is the request of the one session; another one that holds the same payment may be unpaid.
        """
        paid = self._is_paid(kept)
        if paid:
            self._doubted_at.pop(kept.session_id, None)
        return paid

    def _is_paid(self, kept: KeptOriginal) -> bool:
        if (request := self._wallet.get_request(kept.request_id)) is not None:
            return request_paid(self._wallet, request, since_height=kept.since_height)
        # A deleted request's address goes to nobody else while we hold its payment. It may be of more than was asked.
        return any(
            arrived_sat(self._wallet, txout.address, since_height=kept.since_height or 0)
            >= min(txout.value, kept.amount_sat or txout.value)
            for txout in self._payments_to_us(kept)
            if kept.address in (None, txout.address)
        )

    def is_in_doubt(self, kept: KeptOriginal) -> bool:
        """Tell whether what pays one of its requests otherwise was dropped a while ago only, and may be seen again."""
        doubts = [self._is_in_doubt(one) for one in self._store.kept.of(kept.txid)]  # each begins to wait
        return any(doubts)

    def _is_in_doubt(self, kept: KeptOriginal) -> bool:
        coins = {txin.prevout for txin in self._transaction(kept).inputs()}
        dropped = local_payments(self._wallet, kept.address) if kept.address else []
        if all(not coins.isdisjoint(txin.prevout for txin in tx.inputs()) for tx in dropped):
            self._doubted_at.pop(kept.session_id, None)
            return False
        first_look = self._doubted_at.setdefault(kept.session_id, time.monotonic())
        return time.monotonic() - first_look < DOUBT

    def is_ours(self, kept: KeptOriginal) -> bool:
        """Tell whether a kept payment pays the wallet still: an imported address can be deleted."""
        paid = {kept.address} if kept.address else {txout.address for txout in self._payments_to_us(kept)}
        return any(self._wallet.is_mine(address) for address in paid)

    def is_in_the_way(self, kept: KeptOriginal) -> bool:
        """Tell whether another request waits at its address by now, which Electrum would call paid too.

        Electrum without us gives the address out again.
        """
        others = requests_at(self._wallet, kept.address) - {kept.request_id} if kept.address else set()
        requests = [self._wallet.get_request(request_id) for request_id in others]
        return any(request is not None and not request_paid(self._wallet, request) for request in requests)

    def is_paid_to_any(self, kept: KeptOriginal) -> bool:
        """Tell the same of every session that holds this payment: what nobody asks for must charge nobody twice."""
        return any(self.is_paid(one) for one in self._store.kept.of(kept.txid))

    async def broadcast(self, tx: str, server: Interface) -> None:
        """Hand a payment (hex) to this one server. What is known of it is to be on disk (`save`).

        Electrum's own function goes on to the next connection, on which the wallet may not know yet that the request
        is paid. Raises Unreachable, and UserError where the network refuses it.
        """
        try:
            if server.session is None:
                raise Unreachable(_("Electrum is offline"))
            await server.broadcast_transaction(Transaction(tx))
        except TxBroadcastError as error:
            raise UserError(" ".join(error.get_message_for_gui().split())) from error
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise Unreachable(_("the Electrum server did not answer")) from None  # the connection has ended
        except (RequestTimedOut, TimeoutError) as error:
            await server.close()  # as Electrum does: it takes another one, and all begins anew when that is up to date
            raise Unreachable(_("the Electrum server did not answer")) from error

    async def save(self) -> None:
        """Return when all that is known of the payments is on disk. Raises OSError."""
        await self._store.flush()

    def hand_over(self) -> int:
        """Make every kept payment a labelled local transaction, since we are being removed; return how many.

        From now on Electrum alone can broadcast them, and they count as what Electrum takes local transactions for. Not
        what is paid otherwise, or spent in a block: nobody shall be asked to broadcast it. Nor what would pay another
        request, which Electrum counts local transactions for.
        """
        handed = 0
        labels = self._wallet.get_all_labels()  # once: Electrum copies them all
        for kept in self.kept().values():
            try:
                if self._wallet.db.get_transaction(kept.txid) is not None:
                    continue
                if self.is_spent(kept) or self.is_paid(kept) or self.is_in_the_way(kept):
                    continue
                if self._wallet.adb.add_transaction(Transaction(kept.tx)):
                    named = "" if kept.txid in labels else self._name(kept)
                    self._store.kept.mark_handed_over(kept.txid, is_so=True, named=named)
                    handed += 1
            except Exception:
                # One payment that Electrum does not take (unrelated, a conflict) must not keep the others back.
                self.logger.exception("a kept payment could not be handed over")
        return handed

    def take_back(self, is_readable: Callable[[str], bool]) -> None:
        """Undo `hand_over`, since we are here again, for the payments whose logs (`is_readable(session_id)`) are too.

        Without its log a payment is shown nowhere but in Electrum's history, so there it stays. So does one whose
        output was spent meanwhile. One that the user removed from there is wanted no more.
        """
        for kept in self.kept().values():
            is_there = self._wallet.db.get_transaction(kept.txid) is not None or any(self._spenders_seen(kept))
            if kept.handed_over and not is_there:  # nor did Electrum remove it, for what spends its coins
                self._store.kept.mark_aborted(kept.txid, kept.session_id)
        back = {one.txid: one for one in self.kept().values() if one.handed_over and is_readable(one.session_id)}
        labels = self._wallet.get_all_labels() if back else {}
        for txid, kept in back.items():
            self._store.kept.mark_handed_over(txid, is_so=False)
            is_local = confirmations(self._wallet, txid) is None
            if is_local and not self._wallet.adb.get_depending_transactions(txid):
                self._wallet.adb.remove_transaction(txid)
            if kept.named and labels.get(txid) == kept.named:
                self._wallet.set_label(txid, None)

    def _name(self, kept: KeptOriginal) -> str:
        """Name a payment as a local transaction, and return the name as Electrum writes it, on one line."""
        self._wallet.set_label(kept.txid, _label(kept))
        return str(self._wallet.get_label_for_txid(kept.txid))

    def _parsed(self, kept: KeptOriginal) -> Transaction | None:
        key = kept.txid, kept.tx
        if key not in self._read:
            self._read[key] = _transaction(kept.tx, kept.txid)
        return self._read[key]

    def _transaction(self, kept: KeptOriginal) -> Transaction:
        """Return a payment that can be read."""
        tx = self._parsed(kept)
        assert tx is not None
        return tx

    def _spenders_seen(self, kept: KeptOriginal) -> list[str | None]:
        """Return the transactions of this wallet that spend a kept payment's coins, for each coin."""
        return [
            self._wallet.db.get_spent_outpoint(txin.prevout.txid.hex(), str(txin.prevout.out_idx))
            for txin in self._transaction(kept).inputs()
        ]

    def _payments_to_us(self, kept: KeptOriginal) -> list[TxOutput]:
        if kept.txid not in self._to_us:
            outputs = self._transaction(kept).outputs()
            self._to_us[kept.txid] = [txout for txout in outputs if self._wallet.is_mine(txout.address)]
        return self._to_us[kept.txid]

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


def _label(kept: KeptOriginal) -> str:
    """Return what a payment is called as a local transaction."""
    label = _("Payjoin: the sender's own payment. While it is local, broadcast it to be paid.")
    return f"{label} {kept.label}".strip()


def _transaction(raw: str, txid: str) -> Transaction | None:
    """Return a transaction (hex), if that is what it is and its name is right."""
    try:
        tx = parse_transaction(bytes.fromhex(raw))
    except (DecodeError, ValueError):
        return None
    return tx if tx.txid() == txid else None
