"""How a session ends by itself: by what the chain shows, and by the sender's own payment where there was no payjoin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

from electrum.i18n import _
from electrum.logging import Logger
from electrum.transaction import Transaction

from ..bip78.recognise import spends_any
from ..client.deadline import deadline, sleep_until
from ..client.pace import Backoff
from ..errors import Unreachable, UserError
from ..session.events import Abort, Closed, Failure, Success, Unrecognized
from ..session.outcome import is_payjoin, outcome_of
from ..session.receiver import SessionClosed, committed_contribution, created_of, held_original, open_state
from ..wallet.kept import KeptOriginal
from ..wallet.news import wait_for_news
from ..wallet.watching import confirmations, request_paid, seen_for
from .ledger import Ledger, ReceiverSession, now
from .objections import Objections
from .originals import Originals, in_log, scripts_of
from .visible import seen_of

if TYPE_CHECKING:
    from electrum.interface import Interface
    from electrum.wallet import Abstract_Wallet

    from ..wallet.receiving import ElectrumReceiverWallet
    from ..wallet.spenders import Fate, Spender
    from .settings import Settings


BREATH = 6.0
"""Seconds between the look by which a payment is due and the last one: many Electrum servers look at their node's
mempool every five, so what was paid as the time ran out is heard of by then. And what another thread does in several
steps (the payments to an address are forgotten, then the address) is done."""
LONGEST_REFUSED = 3600.0
"""Seconds between tries of a payment that is refused again and again. Most refusals pass (a busy server, a full
mempool, a conflict of low fee), none says which it is, and what ends a payment for good is blocks."""


class Settling(Logger):
    """One wallet's endings. Replacement, confirmation and reorgs after the end are Electrum's."""

    def __init__(
        self,
        wallet: Abstract_Wallet,
        ledger: Ledger,
        originals: Originals,
        objections: Objections,
        *,
        receiver_wallet: ElectrumReceiverWallet,
        settings: Settings,
        hear: Callable[[ReceiverSession, Fate], None],
    ) -> None:
        """`hear(session, fate)` is told what became of the sender's coins, whenever the server was asked."""
        Logger.__init__(self)
        self._wallet, self._ledger, self._originals, self._objections = wallet, ledger, originals, objections
        self._receiver_wallet, self._settings, self._hear = receiver_wallet, settings, hear
        self.tasks: dict[str, asyncio.Task[None]] = {}
        """By session ID: of the kept payments that no session's own task sees to."""
        self.refusals: dict[str, str] = {}
        """What stands against the payments that are tried again, by session ID: the network's last word, a sentence."""
        self._news = asyncio.Event()
        """Set when the chain was looked at, and then another one."""

    def look_at_chain(self, session: ReceiverSession) -> bool:
        """Close `session` if the wallet sees how it ended, and say whether it did."""
        state = session.state
        if isinstance(state, SessionClosed) or not self._receiver_wallet.is_current():
            return False
        seen = seen_of(self._wallet, session)
        if not seen:  # nearly always: each of a thousand sessions is looked at whenever a transaction comes
            return False
        request = self._wallet.get_request(state.created.request_id)
        is_paid = request is not None and request_paid(self._wallet, request)
        outcome = outcome_of(state, seen, request_paid=is_paid)
        if outcome is None or not self._ledger.record(session, Closed(outcome), after=state):
            return False
        if isinstance(outcome, Success):
            self._ledger.name_payjoin(session)
        return True

    def is_coin_gone(self, session: ReceiverSession) -> bool:
        """Tell whether our contributed coin went elsewhere: then no payjoin can come of it any more."""
        committed = committed_contribution(session.state)
        if committed is None or isinstance(session.state, SessionClosed) or not self._receiver_wallet.is_current():
            return False
        seen = seen_for(self._wallet, address=created_of(session.state).address, outpoints=committed.outpoints)
        return any(spends_any(tx.raw, committed.outpoints) for tx in seen)

    def close_by(self, session: ReceiverSession, conflicts: Sequence[Spender]) -> bool:
        """Close `session` if one of the double spends is confirmed, and say whether it did.

        A double spend that pays the request too is the wallet's to see: whether it pays it in full, the wallet knows.
        """
        state = session.state
        if isinstance(state, SessionClosed):
            return False
        script = self._receiver_wallet.script_of(state.created.address)
        for tx in conflicts:
            pays_request = any(txout.scriptpubkey == script for txout in Transaction(tx.raw).outputs())
            if tx.confirmed and not pays_request:
                return self._ledger.record(session, Closed(Unrecognized(tx.txid, pays_request=False)), after=state)
        return False

    async def broadcast_original(self, session_id: str) -> str:
        """Broadcast the sender's payment since the user wants it, and return its txid. One that is out stays out.

        The log has it for ever; where that is unreadable or gone, what was kept beside it counts. Raises UserError
        where there is none, where it could charge the sender twice, and where the network refuses it; UnreadableLog,
        Unreachable, OSError.
        """
        session = self._ledger.if_readable(session_id)
        original = held_original(session.state) if session is not None else None
        payment = self._originals.of_session(session_id) or (None if session is None else in_log(session))
        if payment is None:
            self._ledger.session(session_id)  # which says why nobody knows, where that is so
            raise UserError("session_id: " + _("session {} holds no original payment").format(session_id))
        txid = payment.txid
        if confirmations(self._wallet, txid) is not None:
            return txid
        self._check_unpaid(payment)
        spenders = (await self._fate(payment, scripts_of(original))).spenders
        if txid in [tx.txid for tx in spenders]:
            return txid
        if any(self._is_payjoin(payment, session, tx) for tx in spenders):
            raise UserError(_("the payjoin is on its way; it takes the place of the original"))
        if any(tx.confirmed for tx in spenders):
            raise UserError(_("the sender's coins were spent otherwise; the original cannot be mined any more"))
        server = await self._connection(payment, but=txid)
        # Once more: from here on nothing is waited for.
        if confirmations(self._wallet, txid) is not None:
            return txid
        self._check_unpaid(payment)
        await self._originals.broadcast(payment.tx, server)
        return txid

    async def broadcast_payjoin(self, session_id: str, tx: str) -> None:
        """Broadcast a session's payjoin (hex) that the network dropped, since the user wants it.

        Raises UserError where the session is paid by now, and where the network refuses it; Unreachable, OSError.
        """
        payment = self._originals.of_session(session_id) or in_log(self._ledger.session(session_id))
        txid = str(Transaction(tx).txid())
        server = await self._connection(payment, but=txid)
        if confirmations(self._wallet, txid) is not None:
            return
        if payment is not None:
            self._check_unpaid(payment)
        await self._originals.broadcast(tx, server)

    async def _connection(self, payment: KeptOriginal | None, *, but: str) -> Interface:
        """Return the connection by which to broadcast, all being on disk. Raises Unreachable, OSError."""
        if self._wallet.network is None:
            raise Unreachable(_("Electrum is offline"))
        await self._originals.save()
        if (server := await self._settled(payment, but=but)) is None:
            raise Unreachable(_("Electrum is not up to date with its server"))
        return server

    async def _settled(self, payment: KeptOriginal | None, *, but: str) -> Interface | None:
        """Return the connection that the wallet has all news of for it, `but` what is to go. Raises Unreachable."""
        addresses = self._originals.paid_addresses(payment) if payment is not None else set[str]()
        return await wait_for_news(self._wallet, self._receiver_wallet.settled_connection, addresses, but=but)

    def _check_unpaid(self, payment: KeptOriginal) -> None:
        if not self._objections.is_ours(payment):
            raise UserError(_("it pays no address of this wallet any more"))
        if self._objections.is_paid(payment):
            raise UserError(_("the request is paid already; broadcasting it could charge the sender twice"))
        if self._originals.was_sent_beside(payment):
            raise UserError(_("another payment to its address was broadcast a moment ago; wait until it is seen"))

    def _is_payjoin(self, payment: KeptOriginal, session: ReceiverSession | None, tx: Spender) -> bool:
        """Tell whether `tx` is the payjoin of a payment. Without its log: whether it pays us the same way."""
        if session is None:
            return self._originals.pays_alike(payment, tx.raw)
        return is_payjoin(open_state(session.state), tx.raw)

    async def without_payjoin(
        self, session: ReceiverSession, refused: Callable[[str], None], *, due_at: int = 0
    ) -> None:
        """Broadcast the sender's payment by ourselves, where the setting says so and nothing else is on its way.

        After expiry (`due_at`, unix seconds, by which the clock is asked again), after a failure, and where the sender
        or our coin has gone; never after an abort. Tries until it is out, or cannot be any more; `refused(sentence)` is
        told each time that the network does not take it.
        """
        if _may_fall_back(session):
            await self._see_to(session.id, session, refused, due_at=due_at)

    def look_after(self, is_at_work: Callable[[str], bool], *, every: bool = False) -> None:
        """Begin a task for each kept payment that no task of its session (`is_at_work(session_id)`) sees to.

        Where a log says "paid", the mempool may drop what paid, or replace it. The log stays closed; but what we hold
        is due at its session's expiry like any other. What a block spends is looked at until that is deep, what has
        lost a coin until it is let go, and with `every`, at the wallet's load, also what the wallet sees the end of.
        """
        self._news.set()
        self._news = asyncio.Event()
        kept_ones = self._originals.kept()
        self._objections.look(kept_ones.values())
        for one, kept in kept_ones.items():
            if one in self.tasks or is_at_work(one):
                continue
            if every or self._is_lost(kept) or self._originals.is_spent(kept) or self._is_missing(kept):
                self.tasks[one] = task = asyncio.get_running_loop().create_task(self._look_after(kept))
                task.add_done_callback(lambda _, one=one: self.tasks.pop(one, None))  # type: ignore[misc]

    async def close(self) -> None:
        """End every task."""
        tasks = list(self.tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_after(self, kept: KeptOriginal) -> None:
        """See to a payment now, and again when its time has come."""
        session = self._ledger.if_readable(kept.session_id)
        try:
            await self._see_to(kept.session_id, session, due_at=(due_at := _due_at(session)))
            while (is_lost := self._is_lost(kept)) or (self._is_missing(kept) and due_at > now()):
                if is_lost:
                    await sleep_until(min(now() + LONGEST_REFUSED, due_at if due_at > now() else inf), now)
                elif self._originals.is_spent(kept):  # until that is deep, a block may yet be undone
                    with suppress(TimeoutError):
                        async with deadline(due_at, now):
                            await self._news.wait()
                else:
                    await sleep_until(due_at, now)
                await self._see_to(kept.session_id, session, due_at=due_at)
        except Exception:
            # One that we cannot handle must not keep the others back.
            self.logger.exception("a kept payment could not be seen to")

    async def _see_to(
        self,
        session_id: str,
        session: ReceiverSession | None,
        refused: Callable[[str], None] | None = None,
        *,
        due_at: int,
    ) -> None:
        """See where a session's payment stands, and broadcast it where that is due and nothing spends its coins."""
        waits, refused_waits = Backoff(), Backoff(longest=LONGEST_REFUSED)
        original = held_original(session.state) if session is not None else None
        try:
            while True:
                await self._receiver_wallet.ready()
                if (kept := self._originals.of_session(session_id)) is None:
                    return
                wait = waits
                try:
                    if await self._is_seen_to(kept, session, scripts_of(original), due_at=due_at):
                        return
                except (Unreachable, OSError) as trouble:
                    self.logger.info(f"a kept payment has to wait: {trouble!r}")
                except UserError as refusal:
                    wait, self.refusals[session_id] = refused_waits, str(refusal)
                    self.logger.info(f"a kept payment was refused: {refusal}")
                    if refused is not None:
                        refused(str(refusal))
                except Exception:
                    # Electrum's parsers and its server's answers raise whatever comes to hand; the payment is money.
                    wait = refused_waits
                    self.logger.exception("a kept payment could not be seen to, and is tried again")
                await asyncio.sleep(wait.next())  # a double spend may yet go as it came
        finally:
            self.refusals.pop(session_id, None)

    async def _is_seen_to(
        self, kept: KeptOriginal, session: ReceiverSession | None, scripts: dict[str, bytes] | None, *, due_at: int
    ) -> bool:
        """Tell whether there is nothing more to do for a kept payment. Raises Unreachable, OSError, UserError."""
        fate = await self._fate(kept, scripts)
        if session is not None:
            self._hear(session, fate)
        if not self._is_due(kept, session, due_at) or kept.txid in [tx.txid for tx in fate.spenders]:
            return True
        if fate.spenders or self._objections.is_in_doubt(kept):
            return False
        await asyncio.sleep(BREATH)
        await self._originals.save()
        if (
            server := await self._settled(kept, but=kept.txid)
        ) is None:  # with the news that come the request may be paid
            return False
        if not self._is_due(kept, session, due_at):  # once more: from here on nothing is waited for
            return True
        if self._originals.was_sent_beside(kept):
            return False
        await self._originals.broadcast(kept.tx, server)
        return True

    async def _fate(self, kept: KeptOriginal, scripts: Mapping[str, bytes] | None) -> Fate:
        """Ask what became of a payment's coins. `scripts`: what its log says of them. Raises Unreachable."""
        return await (self._originals.fate(kept) if scripts is None else self._originals.fate_of(kept.txid, scripts))

    def _is_due(self, kept: KeptOriginal, session: ReceiverSession | None, due_at: int) -> bool:
        """Tell whether a kept payment shall be broadcast now, without being asked for."""
        if due_at > now() or (session is not None and not _may_fall_back(session)):
            return False
        return self._is_wanted(kept) and not self._objections.is_paid_to_any(kept)

    def _is_missing(self, kept: KeptOriginal) -> bool:
        """Tell whether a kept payment may yet be due, as far as the wallet sees: nothing stands in its place."""
        if not self._is_wanted(kept) or self._originals.has_visible_spender(kept):
            return False
        return not self._objections.is_paid_to_any(kept)

    def _is_lost(self, kept: KeptOriginal) -> bool:
        """Tell whether nobody knows what made one of a payment's coins: it is looked at until it is let go."""
        still = self._originals.still(kept)
        return still is not None and still.vanished_at is not None

    def _is_wanted(self, kept: KeptOriginal) -> bool:
        """Tell whether a payment may go out by itself; the user may have ended its session since it was read."""
        still = self._originals.still(kept)
        return self._settings.broadcast_original_by_itself and still is not None and self._objections.is_free(still)


def _may_fall_back(session: ReceiverSession) -> bool:
    """Tell whether a session's original may ever be broadcast by itself: not after the user's word."""
    return not isinstance(session.state, SessionClosed) or not isinstance(session.state.outcome, Abort)


def _due_at(session: ReceiverSession | None) -> int:
    """Return when (unix seconds) an original is due that no task of its session sees to any more.

    At once where its log cannot be read, where the payjoin failed, and where the task gave up before its time; else at
    expiry: what settled the session may come back until then.
    """
    match session.state if session is not None else None:
        case SessionClosed(outcome=outcome, before=before) if not isinstance(outcome, Failure):
            return before.created.expires_at
        case _:
            return 0
