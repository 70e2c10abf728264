"""What the wallet sees on the chain, and when that changes.

A transaction counts once it is in the mempool or in a block. Local ones count for nothing here, and neither do those
that spend only coins of ours, such as a change that came back to a request's address: Electrum's own sums and statuses
take both for payments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from electrum.bitcoin import address_to_script, script_to_scripthash
from electrum.transaction import Transaction
from electrum.util import EventListener, event_listener, get_asyncio_loop

from ..session.outcome import Seen

if TYPE_CHECKING:
    from electrum.address_synchronizer import AddressSynchronizer
    from electrum.invoices import Request
    from electrum.transaction import TxOutpoint
    from electrum.wallet import Abstract_Wallet


class ChainWatcher(EventListener):
    """Calls back, on the event loop, when transactions of one wallet came, went or were confirmed, and at each block.

    Any number of events of one turn of the loop make one call.
    """

    def __init__(self, wallet: Abstract_Wallet, on_change: Callable[[], None]) -> None:
        self._wallet, self._on_change = wallet, on_change
        self._is_due = False
        self._is_on = False

    def start(self) -> None:
        """Begin to listen."""
        self._is_on = True
        self.register_callbacks()

    def stop(self) -> None:
        """Listen no more; nothing is called back after this."""
        self._is_on = False
        self.unregister_callbacks()

    @event_listener
    def on_event_adb_added_tx(self, adb: AddressSynchronizer, _txid: str, _tx: Transaction) -> None:
        """A transaction came, in whatever state."""
        self._changed(adb)

    @event_listener
    def on_event_adb_removed_tx(self, adb: AddressSynchronizer, _txid: str, _tx: Transaction | None) -> None:
        """A transaction was replaced, or removed by hand."""
        self._changed(adb)

    @event_listener
    def on_event_adb_tx_height_changed(self, adb: AddressSynchronizer, _txid: str, _old: int, _new: int) -> None:
        """A known transaction moved between local, mempool and block."""
        self._changed(adb)

    @event_listener
    def on_event_adb_added_verified_tx(self, adb: AddressSynchronizer, _txid: str) -> None:
        """A block's proof was checked: only now is a transaction confirmed."""
        self._changed(adb)

    @event_listener
    def on_event_adb_removed_verified_tx(self, adb: AddressSynchronizer, _txid: str) -> None:
        """A block was undone."""
        self._changed(adb)

    @event_listener
    def on_event_request_status(self, wallet: Abstract_Wallet, _request_id: str, _status: int) -> None:
        """Electrum looked at a request again."""
        self._changed(wallet)

    @event_listener
    def on_event_wallet_updated(self, wallet: Abstract_Wallet) -> None:
        """The wallet is up to date again: what it heard meanwhile counts from now on."""
        self._changed(wallet)

    @event_listener
    def on_event_blockchain_updated(self, *_args: object) -> None:
        """A block came: what the chain has is deeper by one."""
        self._changed(self._wallet)

    def _changed(self, source: object) -> None:
        is_ours = source is self._wallet or source is self._wallet.adb
        if is_ours and self._is_on and not self._is_due:
            self._is_due = True
            get_asyncio_loop().call_soon(self._tell)

    def _tell(self) -> None:
        self._is_due = False
        if self._is_on:
            self._on_change()


@lru_cache(maxsize=4096)
def script_of(address: str) -> tuple[bytes, str]:
    """Return the scriptPubKey of an address, and the name that Electrum's servers have for it.

    To read an address costs more than all else of a look at the chain, and there may be a thousand sessions.
    """
    script: bytes = address_to_script(address)
    return script, script_to_scripthash(script)


def seen_for(wallet: Abstract_Wallet, *, address: str, outpoints: Iterable[str], since_height: int = 0) -> list[Seen]:
    """Return the transactions of mempool and blocks that pay `address` or spend one of `outpoints` (`txid:n`).

    Payments in blocks up to `since_height` are older than the request (its `height`) and left out, as Electrum does.
    """
    script, scripthash = script_of(address)
    # A reorg may put what spends the coins into a block that is no younger than the request.
    spends = {wallet.db.get_spent_outpoint(*outpoint.split(":")) for outpoint in outpoints} - {None}
    pays = {prevout.txid.hex() for prevout, _ in wallet.db.get_prevouts_by_scripthash(scripthash)}
    since = dict.fromkeys(pays, since_height) | dict.fromkeys(spends, 0)
    return [seen for txid in sorted(since) if (seen := _seen(wallet, txid, script, since[txid])) is not None]


def request_paid(wallet: Abstract_Wallet, request: Request, *, since_height: int | None = None) -> bool:
    """Tell whether mempool and blocks pay the request its amount: Electrum's own sum without local transactions.

    Blocks up to `since_height` count for nothing; by default these are those up to the request's own `height`.
    """
    amount_sat, address = request.get_amount_sat(), request.get_address()
    if address is None:
        return False
    arrived = arrived_sat(wallet, address, since_height=request.height if since_height is None else since_height)
    return arrived > 0 and arrived >= (amount_sat or 0)


def height_before(wallet: Abstract_Wallet, request: Request) -> int:
    """Return the height up to which blocks have nothing for a request, whatever a reorg moves from now on.

    The newest block when it was made may yet be another one, with a payment in it. Where it has one already, to an
    address that was in use, that was for something else. May be called under the wallet's `db.lock`.
    """
    address, height = request.get_address(), int(request.height)
    if address is None:
        return height
    _, scripthash = script_of(address)
    came = {prevout.txid.hex() for prevout, _ in wallet.db.get_prevouts_by_scripthash(scripthash)}
    mined = [wallet.db.get_verified_tx(txid) for txid in came]
    # Electrum's `height()` wants to know the depth too, which takes another lock.
    return height if any(one is not None and one._height == height for one in mined) else height - 1  # noqa: SLF001


def arrived_sat(wallet: Abstract_Wallet, address: str, *, since_height: int = 0) -> int:
    """Return the satoshis that mempool and blocks brought to `address`, whoever they were."""
    _, scripthash = script_of(address)
    return sum(
        value
        for prevout, value in wallet.db.get_prevouts_by_scripthash(scripthash)
        if _is_visible(wallet, prevout.txid.hex(), since_height) and not _is_our_own(wallet, prevout.txid.hex())
    )


def local_payments(wallet: Abstract_Wallet, address: str) -> list[Transaction]:
    """Return the transactions of others to `address` that the wallet has and does not see: they were dropped."""
    _, scripthash = script_of(address)
    came = {prevout.txid.hex() for prevout, _ in wallet.db.get_prevouts_by_scripthash(scripthash)}
    local = [txid for txid in came if confirmations(wallet, txid) is None and not _is_our_own(wallet, txid)]
    return [tx for txid in local if (tx := wallet.db.get_transaction(txid)) is not None]


def requests_at(wallet: Abstract_Wallet, address: str) -> set[str]:
    """Return the IDs of the requests that ask for a payment to `address`, expired and paid ones too.

    Electrum gives the address of an expired request to the next one, and has no public function that tells both.
    """
    return set(wallet._requests_addr_to_key.get(address, ()))  # noqa: SLF001


def received_sat(
    wallet: Abstract_Wallet,
    address: str,
    *,
    came_back_to: Callable[[Transaction, frozenset[str]], str | None],
    since_height: int = 0,
) -> int:
    """Return the satoshis that mempool and blocks brought to `address`, less our own coins (`txid:n`) among them.

    Ours in a transaction beside somebody else's came back to us as change (Electrum's own bump may add a coin, and
    that), and at one address: the only one of ours that it pays; of several the one that
    `came_back_to(transaction, coins)` names, and where nobody knows, as in a copy of the wallet that gave them, the one
    that got most. Blocks up to `since_height` are older than the request (its `height`) and left out, as Electrum does.
    """
    _, scripthash = script_of(address)
    received = 0
    for txid in {prevout.txid.hex() for prevout, _ in wallet.db.get_prevouts_by_scripthash(scripthash)}:
        tx: Any = wallet.db.get_transaction(txid)
        if tx is None or not _is_visible(wallet, txid, since_height) or _is_our_own(wallet, txid):
            continue
        mine = [txout for txout in tx.outputs() if txout.address == address or wallet.is_mine(txout.address)]
        received += sum(txout.value for txout in mine if txout.address == address)
        ours = {txin.prevout.to_str(): value for txin in tx.inputs() if (value := _own_value_sat(wallet, txin.prevout))}
        if not ours:
            continue
        change = {txout.address for txout in mine if txout.address != address and wallet.is_change(txout.address)}
        homes = [txout for txout in mine if txout.address not in change]
        home: str = max(homes, key=lambda txout: txout.value).address
        if len({txout.address for txout in homes}) > 1:
            home = came_back_to(tx, frozenset(ours)) or home
        if home == address:
            received -= sum(ours.values()) - sum(txout.value for txout in mine if txout.address in change)
    return received


def net_sat(wallet: Abstract_Wallet, tx: Transaction) -> int:
    """Return what a transaction brings to this wallet in all, less the coins of ours that it spends (satoshis)."""
    brought = sum(int(txout.value) for txout in tx.outputs() if wallet.is_mine(txout.address))
    return brought - sum(_own_value_sat(wallet, txin.prevout) or 0 for txin in tx.inputs())


def confirmations(wallet: Abstract_Wallet, txid: str) -> int | None:
    """Return how deep a transaction is: 0 in the mempool, None where it is not seen now."""
    mined = wallet.adb.get_tx_height(txid)
    return None if mined.is_local_like() else int(mined.conf or 0)


def _seen(wallet: Abstract_Wallet, txid: str, script: bytes, since_height: int) -> Seen | None:
    tx: Any = wallet.db.get_transaction(txid)
    if tx is None or not _is_visible(wallet, txid, since_height):
        return None
    return Seen(
        txid=txid,
        raw=bytes.fromhex(tx.serialize()),
        confirmed=wallet.adb.get_tx_height(txid).height() > 0,
        pays_request=any(txout.scriptpubkey == script for txout in tx.outputs()) and not _is_our_own(wallet, txid),
    )


def _own_value_sat(wallet: Abstract_Wallet, prevout: TxOutpoint) -> int | None:
    """Return the value of a coin, if it is the wallet's."""
    tx: Any = wallet.db.get_transaction(prevout.txid.hex())
    txout = tx.outputs()[prevout.out_idx] if tx is not None else None
    return int(txout.value) if txout is not None and wallet.is_mine(txout.address) else None


def _is_our_own(wallet: Abstract_Wallet, txid: str) -> bool:
    """Tell whether a transaction spends nobody else's coins."""
    tx: Any = wallet.db.get_transaction(txid)
    return tx is not None and all(_own_value_sat(wallet, txin.prevout) is not None for txin in tx.inputs())


def _is_visible(wallet: Abstract_Wallet, txid: str, since_height: int) -> bool:
    mined = wallet.adb.get_tx_height(txid)
    return not mined.is_local_like() and not 0 < mined.height() <= since_height
