"""What speaks against sending a kept payment: it would charge its sender twice, or pay somebody else's request."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from ..wallet.watching import arrived_sat, local_payments, request_paid, requests_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from electrum.wallet import Abstract_Wallet

    from ..wallet.kept import KeptOriginal
    from .originals import Originals

DOUBT = 600.0
"""Seconds for which a payment that was seen is taken to come back: a server that was restarted knows no mempool for
minutes."""


class Objections:
    """The judge of one wallet's kept payments, by what the wallet sees."""

    def __init__(self, wallet: Abstract_Wallet, originals: Originals) -> None:
        self._wallet, self._originals = wallet, originals
        self._doubted_at: dict[str, float] = {}
        """Since when (seconds of this run) another payment of a session's request is here and not seen."""

    def at_stake(self) -> dict[str, int]:
        """Return the payments (txid) that are lost where nobody broadcasts them, and what each pays us (sat).

        Their coins are seen spent nowhere. What is paid otherwise is none of them: it would charge its sender twice;
        nor what is a local transaction already. What was paid a moment ago is one, since nobody knows yet whether it
        still is, and so is what was removed from the history while we were not here: by Electrum, perhaps, for what
        replaced it and is gone too.
        """
        return {
            kept.txid: sum(txout.value for txout in self._originals.payments_to_us(kept))
            for kept in self._originals.kept().values()
            if not (
                self._wallet.db.get_transaction(kept.txid) is not None
                or self._originals.has_visible_spender(kept)
                or self._originals.is_spent(kept)
                or self.is_paid(kept)
            )
            and self.is_ours(kept)
        }

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
        pays: Counter[str] = Counter()
        for txout in self._originals.payments_to_us(kept):
            if kept.address in (None, txout.address):
                pays[txout.address] += txout.value
        return any(
            arrived_sat(self._wallet, address, since_height=kept.since_height or 0)
            >= min(amount_sat, kept.amount_sat or amount_sat)
            for address, amount_sat in pays.items()
        )

    def is_paid_to_any(self, kept: KeptOriginal) -> bool:
        """Tell the same of every session that holds this payment: what nobody asks for must charge nobody twice.

        What else it pays is its sender's business: who adds a little for another request of ours, paid long ago or by
        somebody else, would have us broadcast nothing, and see our coins for nothing.
        """
        return any(self.is_paid(one) for one in self._originals.holds(kept.txid))

    def look(self, every: Iterable[KeptOriginal]) -> None:
        """Note what is in doubt from now on, and what is no more. The waiting begins when a payment is dropped."""
        for kept in every:
            if not self.is_paid(kept):
                self._is_in_doubt(kept)

    def is_in_doubt(self, kept: KeptOriginal) -> bool:
        """Tell whether what pays one of its requests otherwise was dropped a while ago only, and may be seen again."""
        doubts = [self._is_in_doubt(one) for one in self._originals.holds(kept.txid)]  # each begins to wait
        return any(doubts)

    def _is_in_doubt(self, kept: KeptOriginal) -> bool:
        coins = {txin.prevout for txin in self._originals.transaction(kept).inputs()}
        dropped = local_payments(self._wallet, kept.address) if kept.address else []
        if all(not coins.isdisjoint(txin.prevout for txin in tx.inputs()) for tx in dropped):
            self._doubted_at.pop(kept.session_id, None)
            return False
        first_look = self._doubted_at.setdefault(kept.session_id, time.monotonic())
        return time.monotonic() - first_look < DOUBT

    def is_free(self, kept: KeptOriginal) -> bool:
        """Tell whether nobody's word is against sending a payment: the user's own, or another customer's request."""
        said = kept.aborted or self.is_thrown_away(kept)
        return not said and self.is_ours(kept) and not self.is_in_the_way(kept)

    def is_ours(self, kept: KeptOriginal) -> bool:
        """Tell whether a kept payment pays the wallet still: an imported address can be deleted."""
        paid = {kept.address} if kept.address else {one.address for one in self._originals.payments_to_us(kept)}
        return any(self._wallet.is_mine(address) for address in paid)

    def is_in_the_way(self, kept: KeptOriginal) -> bool:
        """Tell whether another request waits at an address of it by now, which Electrum would call paid too.

        Electrum without us gives the addresses out again.
        """
        holds = [one for one in self._originals.holds(kept.txid) if one.address is not None]
        return any(self._is_any_unpaid(requests_at(self._wallet, str(one.address)) - {one.request_id}) for one in holds)

    def pays_another(self, kept: KeptOriginal) -> bool:
        """Tell the same of all that it pays: a local transaction, which nobody has, is counted for each by Electrum."""
        own = {one.request_id for one in self._originals.holds(kept.txid)}
        pays: Counter[str] = Counter()
        for txout in self._originals.payments_to_us(kept):
            pays[txout.address] += txout.value
        return self.is_in_the_way(kept) or any(
            not request_paid(self._wallet, request) and amount_sat + arrived >= (request.get_amount_sat() or 0)
            for address, amount_sat in pays.items()
            for request_id in requests_at(self._wallet, address) - own
            if (request := self._wallet.get_request(request_id)) is not None
            for arrived in [arrived_sat(self._wallet, address, since_height=request.height)]
        )

    def _is_any_unpaid(self, request_ids: set[str]) -> bool:
        requests = [self._wallet.get_request(request_id) for request_id in request_ids]
        return any(request is not None and not request_paid(self._wallet, request) for request in requests)

    def is_thrown_away(self, kept: KeptOriginal) -> bool:
        """Tell whether a payment is no more in Electrum's history, where it was while we were not here.

        Most likely the user's word. Not where something else is there that spends its coins: Electrum removed it then.
        """
        return kept.handed_over and not self._originals.is_known(kept)
