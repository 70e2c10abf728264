"""The senders' own payments that lie in our hands: each is money until the chain has settled its coins.

They stand outside the logs, where Electrum keeps them even without us (wallet/storage.py). None is made a local
transaction of Electrum's while we live: that would count as balance, and its output would be spent. They become some
when we are taken out; and one that lost its session by that stays one, since nothing of ours could broadcast it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from electrum.i18n import _
from electrum.interface import TxBroadcastError
from electrum.logging import Logger
from electrum.network import BestEffortRequestFailed, UntrustedServerReturnedError
from electrum.transaction import Transaction

from ..bip78.psbt import parse_transaction
from ..errors import DecodeError, Unreachable, UserError
from ..wallet.spenders import Spender, spenders_of
from ..wallet.watching import confirmations, received_sat, request_paid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from electrum.transaction import TxOutput
    from electrum.wallet import Abstract_Wallet

    from ..wallet.chain import ChainLookUp
    from ..wallet.kept import KeptOriginal
    from ..wallet.storage import WalletStore


class Originals(Logger):
    """One wallet's kept payments."""

    def __init__(self, wallet: Abstract_Wallet, store: WalletStore, chain: ChainLookUp) -> None:
        Logger.__init__(self)
        self._wallet, self._store, self._chain = wallet, store, chain
        self._read: dict[str, Transaction | None] = {}
        """Txid → its transaction; None where that is damaged."""

    def kept(self) -> dict[str, KeptOriginal]:
        """Return the kept payments by session, of which several may hold the same one.

        One that cannot be read is left out, and stays where it is.
        """
        stored = self._store.originals()
        for one in stored:
            if one.txid not in self._read:
                self._read[one.txid] = _transaction(one.tx, one.txid)
        return {one.session_id: one for one in stored if self._read[one.txid] is not None}

    def held_addresses(self) -> set[str]:
        """Return the addresses of ours that kept payments pay."""
        return {txout.address for kept in self.kept().values() for txout in self._payments_to_us(kept.txid)}

    def unseen(self) -> dict[str, int]:
        """Return the kept payments (txid) of whose coins the wallet has seen nothing spend any, and what each pays us.

        They are lost where nobody broadcasts them. What is paid otherwise is none: it would charge the sender twice.
        """
        return {
            kept.txid: sum(txout.value for txout in self._payments_to_us(kept.txid))
            for kept in self.kept().values()
            if not any(self._spenders_seen(kept.txid)) and not self.is_paid(kept)
        }

    def of_session(self, session_id: str) -> KeptOriginal | None:
        """Return the kept payment of a session, whatever has become of its log."""
        return self.kept().get(session_id)

    def has_visible_spender(self, txid: str) -> bool:
        """Tell whether the wallet sees a kept payment's coins spent in the mempool or in a block."""
        return any(
            spender is not None and confirmations(self._wallet, spender) is not None
            for spender in self._spenders_seen(txid)
        )

    def pays_alike(self, txid: str, raw: bytes) -> bool:
        """Tell whether the transaction `raw` pays an address of ours that a kept payment pays."""
        ours = {txout.scriptpubkey for txout in self._payments_to_us(txid)}
        return any(txout.scriptpubkey in ours for txout in Transaction(raw).outputs())

    def drop_settled(self) -> None:
        """Forget the payments whose coins a confirmed transaction of this wallet spends."""
        for txid in {kept.txid for kept in self.kept().values()}:
            if any(spender and confirmations(self._wallet, spender) for spender in self._spenders_seen(txid)):
                self._store.drop_original(txid)

    async def spenders(self, txid: str, scripts: Mapping[str, bytes] | None = None) -> list[Spender]:
        """Ask the Electrum server what spends a kept payment's coins. It is forgotten where a confirmed one does.

        `scripts`: the scriptPubKeys that it spends from, by outpoint, where they are known. Raises Unreachable.
        """
        scripts = scripts or await self._scripts_of(self._transaction(txid))
        spenders = await spenders_of(self._wallet, self._chain, scripts)
        if any(spender.confirmed for spender in spenders):
            self._store.drop_original(txid)
        return spenders

    def is_paid(self, kept: KeptOriginal) -> bool:
        """Tell whether mempool and blocks pay already what a kept payment is for: it would charge the sender twice.

        That is the request of the one session; another one that holds the same payment may be unpaid.
        """
        if (request := self._wallet.get_request(kept.request_id)) is not None:
            return request_paid(self._wallet, request)
        # A deleted request's address goes to nobody else while we hold its payment.
        return any(
            received_sat(self._wallet, txout.address, contributed=()) >= txout.value
            for txout in self._payments_to_us(kept.txid)
        )

    async def broadcast(self, tx: str) -> None:
        """Hand a payment (hex) to the network, what we know of it being on disk.

        Raises Unreachable, OSError, and UserError where the network refuses it.
        """
        if self._wallet.network is None:
            raise Unreachable(_("Electrum is offline"))
        await self._store.flush()
        try:
            await self._wallet.network.broadcast_transaction(Transaction(tx))
        except TxBroadcastError as error:
            raise UserError(" ".join(error.get_message_for_gui().split())) from error
        except (BestEffortRequestFailed, TimeoutError) as error:
            raise Unreachable(str(error) or _("the Electrum server did not answer")) from error

    def hand_over(self) -> int:
        """Make every kept payment a labelled local transaction, since we are being removed; return how many.

        From now on Electrum alone can broadcast them, and they count as what Electrum takes local transactions for. Not
        what is paid otherwise: nobody shall be asked to broadcast it.
        """
        handed = 0
        for kept in self.kept().values():
            try:
                if self._wallet.db.get_transaction(kept.txid) is not None or self.is_paid(kept):
                    continue
                if self._wallet.adb.add_transaction(Transaction(kept.tx)):
                    self._store.mark_handed_over(kept.txid, is_so=True, named=self._name(kept))
                    handed += 1
            except Exception:
                # One payment that Electrum does not take (unrelated, a conflict) must not keep the others back.
                self.logger.exception("a kept payment could not be handed over")
        return handed

    def take_back(self, is_readable: Callable[[str], bool]) -> None:
        """Undo `hand_over`, since we are here again, for the payments whose logs (`is_readable(session_id)`) are too.

        Without its log a payment is shown nowhere but in Electrum's history, so there it stays. So does one whose
        output was spent meanwhile.
        """
        back = {one.txid: one for one in self.kept().values() if one.handed_over and is_readable(one.session_id)}
        for txid, kept in back.items():
            self._store.mark_handed_over(txid, is_so=False)
            is_local = confirmations(self._wallet, txid) is None
            if is_local and not self._wallet.adb.get_depending_transactions(txid):
                self._wallet.adb.remove_transaction(txid)
            if kept.named and self._wallet.get_all_labels().get(txid) == kept.named:
                self._wallet.set_label(txid, None)

    def _name(self, kept: KeptOriginal) -> str:
        """Name a payment as a local transaction, and return the name; an empty one where the user has named it."""
        if kept.txid in self._wallet.get_all_labels():
            return ""
        self._wallet.set_label(kept.txid, _label(kept))
        return str(self._wallet.get_all_labels()[kept.txid])  # as Electrum writes it, on one line

    def _transaction(self, txid: str) -> Transaction:
        """Return a kept payment that can be read."""
        tx = self._read[txid]
        assert tx is not None
        return tx

    def _spenders_seen(self, txid: str) -> list[str | None]:
        """Return the transactions of this wallet that spend a kept payment's coins, for each coin."""
        return [
            self._wallet.db.get_spent_outpoint(txin.prevout.txid.hex(), str(txin.prevout.out_idx))
            for txin in self._transaction(txid).inputs()
        ]

    def _payments_to_us(self, txid: str) -> list[TxOutput]:
        return [txout for txout in self._transaction(txid).outputs() if self._wallet.is_mine(txout.address)]

    async def _scripts_of(self, tx: Transaction) -> dict[str, bytes]:
        """Fetch the scripts that a payment spends from, by outpoint. Raises Unreachable."""
        if self._wallet.network is None:
            raise Unreachable(_("Electrum is offline"))
        scripts = {}
        for txin in tx.inputs():
            try:
                raw = await self._wallet.network.get_transaction(txin.prevout.txid.hex())
            except (BestEffortRequestFailed, UntrustedServerReturnedError, TimeoutError) as error:
                raise Unreachable(_("the Electrum server does not know the sender's coins")) from error
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
