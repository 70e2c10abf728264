"""One open wallet's payjoin sessions: what Electrum asks about them, what the chain says, and what people do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from electrum.i18n import _
from electrum.logging import Logger
from electrum.util import get_asyncio_loop

from ..client.waiting import Consent
from ..errors import UserError
from ..faults import own_fault
from ..session.events import Abort, Closed
from ..session.receiver import (
    CheckingOriginal,
    SessionClosed,
    WaitingForOriginal,
    held_original,
)
from ..session.status import Waiting
from ..wallet.chain import ChainLookUp
from ..wallet.receiving import ElectrumReceiverWallet
from ..wallet.seams import Seams
from ..wallet.storage import WalletStore
from ..wallet.watching import ChainWatcher, request_paid
from .absence import awaken, catch_up
from .doublespend import DoubleSpends
from .ending import end
from .handover import Handover
from .ledger import Ledger, ReceiverSession, now
from .live import LiveSessions
from .objections import Objections
from .offering import Offering
from .offers import Offers
from .originals import Originals
from .report import Report
from .settling import Settling

if TYPE_CHECKING:
    from electrum.invoices import Request
    from electrum.stored_dict import StoredDict
    from electrum.wallet import Abstract_Wallet

    from ..bip78.original import Original
    from ..wallet.spenders import Spender
    from .services import Services
    from .view import Share


class WalletSessions(Logger):
    """The owner of a wallet's sessions."""

    def __init__(
        self,
        wallet: Abstract_Wallet,
        storage: StoredDict,
        services: Services,
        *,
        changed: Callable[[], None],
        closed: Callable[[], None],
    ) -> None:
        """`changed()` is called on any thread after every change that a person may see, `closed()` at the end."""
        Logger.__init__(self)
        self.wallet, self._services, self.changed, self._closed = wallet, services, changed, closed
        self.settings = services.settings
        self.store = WalletStore(wallet, storage)
        self.ledger = Ledger(wallet, self.store)
        chain = ChainLookUp(wallet)
        self.receiver_wallet = ElectrumReceiverWallet(
            wallet, store=self.store, chain=chain, settings=services.settings, coin_book=self.ledger
        )
        self.offering = Offering(wallet, self.store, services)
        self.originals = Originals(wallet, self.store, chain)
        self.objections = Objections(wallet, self.originals)
        self.handover = Handover(wallet, self.store.kept, self.originals, self.objections)
        self.double_spends = DoubleSpends(chain, self.originals, self._coins_moved)
        self.settling = Settling(
            wallet,
            self.ledger,
            self.originals,
            self.objections,
            receiver_wallet=self.receiver_wallet,
            settings=services.settings,
            hear=self.double_spends.hear,
        )
        self.report = Report(self)
        self.live = LiveSessions(
            self.ledger,
            receiver_wallet=self.receiver_wallet,
            services=services,
            settling=self.settling,
            double_spends=self.double_spends,
            changed=changed,
        )
        self.offers = Offers(
            wallet, self.ledger, self.offering, services=services, live=self.live, run=self._run, changed=changed
        )
        self._seams = Seams(wallet, self)
        self._watcher = ChainWatcher(wallet, self._chain_changed)
        self._look_wanted = self._is_stopped = False

    # Life. All of it on the event loop.

    def start(self) -> None:
        """Resume what is open, and hook into the wallet."""
        self._services.cache.load(self.store.directory_keys())
        self.ledger.load()
        self.handover.take_back(self.ledger.is_readable)
        catch_up(self.wallet, self.ledger, self.originals, self.objections)
        self._seams.install()
        self._watcher.start()
        for session_id, session in list(self.ledger.open.items()):
            self._run(session_id)
            if self.wallet.network is not None:
                self.double_spends.watch(session, look=True)
        if self.wallet.network is not None:
            self.settling.look_after(self.live.is_at_work, every=True)
        self._chain_changed()

    async def stopped(self) -> None:
        """Stop, since the wallet closes; its own last save comes next, and after it nothing of ours."""
        try:
            await self.stop()
        finally:
            self.store.close()

    async def stop(self) -> None:
        """Stop every task, and unhook. The wallet may stay open."""
        self._is_stopped = True
        self.offers.close()
        try:
            self._watcher.stop()
            self._seams.remove()
            await asyncio.gather(
                self.settling.close(), self.live.stop(), self.double_spends.close(), return_exceptions=True
            )
        finally:  # whoever stops us may lose patience; what is stopped half way must not be taken for open
            self._closed()

    def _run(self, session_id: str) -> None:
        if self.wallet.network is not None and not self._is_stopped:
            self.live.run(session_id)

    # What Electrum asks, on any thread (wallet/seams.py)

    def request_added(self, request: Request, *, imported: bool) -> None:
        """Give a new request its session, and end the offer of an older one at its address."""
        self.offers.request_added(request, imported=imported)

    def requests_deleted(self, request_ids: Sequence[str]) -> None:
        """End the sessions of requests that go, expired or not; Electrum's own save takes both to the disk.

        One that has ended stays as it ended, and what it holds goes out by itself no more: nobody asks for it. Unless
        the request is paid, should that payment vanish: who tidies up still wants to be paid.
        """
        requests = [self.wallet.get_request(one) for one in request_ids]  # another thread may delete one too
        paid = {one.get_id(): request_paid(self.wallet, one) for one in requests if one is not None}
        self.store.kept.mark_requests_deleted(paid)
        for request_id in request_ids:
            with own_fault("a deleted request's session"):  # none keeps the others open
                self._request_deleted(request_id)
        self._chain_changed()  # one that stood in the way of a payment is gone

    def _request_deleted(self, request_id: str) -> None:
        self.store.forget_request(request_id)
        session_id = self.store.session_of_request(request_id)
        while session_id is not None and self.ledger.is_unclosed(session_id):
            if end(self.wallet, self.ledger, self.ledger.session(session_id)):
                self.live.stop_soon(session_id)

    def uri_of(self, request: Request, plain: str) -> str:
        """Return the URI of a request: with `pj` while nothing has come."""
        if self.ledger.lapsed.get(self.store.session_of_request(request.get_id()) or "", 0) > now():
            self._chain_changed()  # it lapsed by a clock that was ahead, and goes on in a moment
        return self.offers.uri_of(self.ledger.of_request(request.get_id()), plain)

    def held_addresses(self) -> set[str]:
        """Return the addresses that originals in our hands pay, or will where they are good: for nobody else."""
        unchecked = (one.state for one in list(self.ledger.open.values()) if isinstance(one.state, CheckingOriginal))
        return self.originals.held_addresses() | {state.created.address for state in unchecked}

    def reserved_outpoints(self) -> set[str]:
        """Return the coins in open proposals."""
        return self.ledger.reserved_outpoints()

    async def offer_late(self) -> None:
        """Give the requests that waited for it their session, now that the cause may have gone."""
        await self.offers.make_late()

    # The chain

    def _chain_changed(self) -> None:
        """Look at the chain soon, once for many changes. On any thread."""
        if not self._look_wanted:
            self._look_wanted = True
            get_asyncio_loop().call_soon_threadsafe(self._look_at_chain)

    def _look_at_chain(self) -> None:
        self._look_wanted = False
        self.receiver_wallet.is_current()  # notes that it is: later, in the midst of news, Electrum says that it is not
        for session_id in [*self.ledger.awaken(), *self.live.awaken()]:
            with own_fault("a session that lapsed"):
                awaken(self.wallet, self.ledger, session_id)
            self._run(session_id)
        for session in self.ledger.unsettled():
            if self.settling.look_at_chain(session):
                self.live.stop_soon(session.id)
            elif self.settling.is_coin_gone(session):
                self.live.give_up(session)
        kept = self.originals.kept().values()
        self.originals.drop_settled(kept)
        self.handover.look(kept)
        if self.wallet.network is not None and not self._is_stopped:
            self.settling.look_after(self.live.is_at_work)
        self.live.wallet_changed()
        if self.store.waiting_requests():
            asyncio.get_running_loop().create_task(self.offer_late())

    def _coins_moved(self, session: ReceiverSession, conflicts: Sequence[Spender]) -> None:
        """Act on what the sender's coins are spent by: a session that has not answered asks the user."""
        if self.settling.close_by(session, conflicts):
            self.live.stop_soon(session.id)
        elif (runner := self.live.runners.get(session.id)) is not None:
            runner.coins_moved()
        self.changed()

    # What people do

    def held_original(self, session_id: str) -> Original | None:
        """Return the sender's payment, also of a closed session. Raises UnreadableLog."""
        return held_original(self.ledger.session(session_id).state)

    def original_hex(self, session_id: str) -> str | None:
        """Return the sender's payment as hex; where the log is unreadable or gone, what is kept beside it.

        Raises UnreadableLog where nothing is.
        """
        if self.ledger.if_readable(session_id) is None and (kept := self.originals.of_session(session_id)) is not None:
            return kept.tx
        original = self.held_original(session_id)
        return None if original is None else original.fallback.hex()

    def knows(self, session_id: str) -> bool:
        """Tell whether there is a session of that name, or a payment that outlived its log."""
        return self.ledger.knows(session_id) or self.originals.of_session(session_id) is not None

    async def abort(self, session_id: str) -> None:
        """End a session; on disk before this returns. Raises UserError where it has ended otherwise, UnreadableLog."""
        session = self.ledger.session(session_id)
        self._end(session)
        if isinstance(session.state, SessionClosed) and not isinstance(session.state.outcome, Abort):
            status = self.report.row(session_id)["status"]
            raise UserError("session_id: " + _("session {} has ended already: {}").format(session_id, status))
        self.live.stop_soon(session_id)  # before the save: no answer leaves during it
        await self.store.flush()

    def abort_all(self) -> None:
        """End, in memory, every session that something may still come of."""
        for session in self.ledger.unsettled():
            self._end(session)

    def _end(self, session: ReceiverSession) -> None:
        self.settling.look_at_chain(session)
        with self.store.lock:
            if not isinstance(session.state, SessionClosed):
                self.ledger.record(session, Closed(Abort()))

    async def decline(self, request_id: str) -> None:
        """Make a request plain for good. Raises UserError where the sender's payment has come."""
        session = self.ledger.of_request(request_id)
        if session is not None and not isinstance(session.state, WaitingForOriginal):
            said = _("a payment for {} has come already: see payjoin_abort {}").format(request_id, session.id)
            raise UserError(f"request_id: {said}")
        self.store.drop_waiting(request_id)
        self.store.decline(request_id)  # first, for who looks why the session was aborted
        if session is not None:
            await self.abort(session.id)
        await self.store.flush()

    def answer(
        self, session_id: str, *, password: str | None, agreed: Share | None = None, despite_double_spend: bool = True
    ) -> None:
        """Take the user's word: with what they `agreed` to give, or whatever it is. Raises UserError if none waits."""
        runner = self.live.runners.get(session_id)
        if runner is None or runner.waiting in (None, Waiting.FAULT):
            raise UserError("session_id: " + _("session {} is not waiting for an answer").format(session_id))
        coins, fee_sat = (agreed.outpoints, agreed.receiver_fee_sat) if agreed is not None else (None, 0)
        runner.answer_now(Consent(password, coins, fee_sat, despite_double_spend))

    async def broadcast_original(self, session_id: str) -> str:
        """Broadcast the sender's payment and return its txid. Raises UserError, UnreadableLog, Unreachable, OSError."""
        return await self.settling.broadcast_original(session_id)
