"""One open wallet's payjoin sessions: their live tasks, what Electrum asks about them, and what people do with them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from electrum.i18n import _
from electrum.logging import Logger
from electrum.util import get_asyncio_loop

from ..client.mail import Mail
from ..client.pace import Backoff, Pace
from ..client.runner import Consent, End, Runner
from ..client.transport import HttpTransport
from ..errors import UserError, WalletError
from ..session.events import Abort, Closed, ReceiverEvent, RenewedKeys
from ..session.receiver import ReceiverState, SessionClosed, WaitingForOriginal, created_of, held_original
from ..session.status import Waiting
from ..wallet.chain import ChainLookUp
from ..wallet.receiving import ElectrumReceiverWallet
from ..wallet.seams import Seams
from ..wallet.storage import WalletStore
from ..wallet.watching import ChainWatcher, request_paid
from ..wire.uri import append_pj
from .doublespend import DoubleSpends
from .ledger import Ledger, ReceiverSession, now
from .offering import Offering
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


class WalletSessions(Logger):
    """The owner of a wallet's sessions. Their tasks live on Electrum's event loop."""

    def __init__(
        self,
        wallet: Abstract_Wallet,
        storage: StoredDict,
        services: Services,
        *,
        changed: Callable[[], None],
        closed: Callable[[], None],
    ) -> None:
        """`changed()` is called on any thread after every turn that a person may see, `closed()` at the end."""
        Logger.__init__(self)
        self.wallet, self._services, self.changed, self._closed = wallet, services, changed, closed
        self.store = WalletStore(wallet, storage)
        self.ledger = Ledger(wallet, self.store)
        chain = ChainLookUp(wallet)
        self.electrum = ElectrumReceiverWallet(
            wallet, store=self.store, chain=chain, settings=services.settings, coin_book=self.ledger
        )
        self.offering = Offering(wallet, self.store, services)
        self.originals = Originals(wallet, self.store, chain)
        self.double_spends = DoubleSpends(wallet, chain, self._coins_moved)
        self.settling = Settling(
            wallet,
            self.ledger,
            self.originals,
            electrum=self.electrum,
            settings=services.settings,
            hear=self.double_spends.hear,
        )
        self.report = Report(self)
        self.runners: dict[str, Runner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._late: set[str] = set()
        """Sessions made after their request and not on disk yet: their URI is not shown."""
        self._seams = Seams(wallet, self)
        self._watcher = ChainWatcher(wallet, self._chain_changed)
        self._look_wanted = False
        self._is_stopped = False
        self._leftovers: asyncio.Task[None] | None = None

    # Life. All of it on the event loop.

    def start(self) -> None:
        """Resume what is open, and hook into the wallet."""
        self._services.cache.load(self.store.directory_keys())
        self.ledger.load()
        self.originals.take_back(self.ledger.knows)
        self._seams.install()
        self._watcher.start()
        for session_id, session in list(self.ledger.open.items()):
            self._run(session_id)
            if self.wallet.network is not None:
                self.double_spends.watch(session, look=True)
        if self.wallet.network is not None:
            self._leftovers = asyncio.get_running_loop().create_task(self.settling.leftovers())
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
        self._watcher.stop()
        self._seams.remove()
        tasks = [*self._tasks.values(), *((self._leftovers,) if self._leftovers else ())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, self.double_spends.close(), return_exceptions=True)
        self._closed()

    def _run(self, session_id: str) -> None:
        session = self.ledger.open.get(session_id)
        if session is None or session_id in self._tasks or self.wallet.network is None or self._is_stopped:
            return
        transport = self._services.new_transport()
        made_at, expires_at = session.records[0].at, created_of(session.state).expires_at
        runner = Runner(
            session,
            wallet=self.electrum,
            mail=Mail(transport, self._services.relays, time.time),
            store=self.store,
            policy=self._services.settings,
            clock=time.time,
            pace=Pace(lambda: self._services.turn(transport, session_id, made_at=made_at, expires_at=expires_at)),
            record=lambda state, event: self._record(session, state, event),
            changed=lambda: self._moved(session),
        )
        self.runners[session_id] = runner
        self._tasks[session_id] = asyncio.get_running_loop().create_task(self._drive(runner, transport))

    def _record(self, session: ReceiverSession, state: ReceiverState, event: ReceiverEvent) -> bool:
        recorded = self.ledger.record(session, event, after=state)
        if recorded and isinstance(event, RenewedKeys):
            # The next request must not be offered with keys that the directory has refused.
            self._services.cache.put(created_of(state).directory, event.ohttp_keys, time.time())
        return recorded

    async def _drive(self, runner: Runner, transport: HttpTransport) -> None:
        try:
            runner.end = await runner.run()
        except Exception:
            # A fault of ours ends this task and no other; its log stands, and the next start tries again.
            self.logger.exception("a payjoin session had a fault")
            runner.waiting = Waiting.FAULT
            self.changed()
        finally:
            await transport.close()
        if runner.waiting is Waiting.FAULT:  # what is held is worth a payment all the same, when its time has come
            await asyncio.sleep(max(0, created_of(runner.session.state).expires_at - now()))
        await self._fall_back(runner)
        if runner.end is End.EXPIRED and self.ledger.let_lapse(runner.session):
            del self.runners[runner.session.id], self._tasks[runner.session.id]

    async def _fall_back(self, runner: Runner) -> None:
        """See to the sender's own payment after a session's task has ended."""
        runner.waiting = None
        self.changed()
        try:
            await self.settling.without_payjoin(runner.session)
        except UserError as refusal:
            runner.trouble = WalletError(str(refusal))
        except Exception:
            self.logger.exception("a sender's own payment could not be seen to")
        self.changed()

    def _moved(self, session: ReceiverSession) -> None:
        self.double_spends.watch(session)
        if (runner := self.runners.get(session.id)) is not None and runner.answered_elsewhere:
            self.ledger.release(session)
        self.changed()

    def _stop_soon(self, session_id: str) -> None:
        self.double_spends.stop(session_id)
        self.runners.pop(session_id, None)
        if (task := self._tasks.pop(session_id, None)) is not None:
            get_asyncio_loop().call_soon_threadsafe(task.cancel)
        self.changed()

    # What Electrum asks, on any thread (wallet/seams.py)

    def request_added(self, request: Request) -> None:
        """Give a new request its session, in memory: Electrum's own save of the request takes both to the disk."""
        if not self.offering.wanted() or self.offering.why_never(request) is not None:
            return
        if self.offering.why_not_now() is not None:
            self.store.set_waiting(request.get_id(), now())
            return
        self._offer(request)

    def request_deleted(self, request_id: str) -> None:
        """End the session of a request that goes; Electrum's own save takes both to the disk."""
        self.store.forget_request(request_id)
        if (session := self.ledger.of_request(request_id)) is not None:
            self.ledger.record(session, Closed(Abort()))
            self._stop_soon(session.id)

    def uri_of(self, request: Request, plain: str) -> str:
        """Return the URI of a request: with `pj` while nothing has come, plain in every other stage."""
        session = self.ledger.of_request(request.get_id())
        if session is None or session.id in self._late or not isinstance(session.state, WaitingForOriginal):
            return plain
        if session.state.created.expires_at <= now():
            return plain
        self._services.turns.look(session.id)
        return append_pj(plain, session.state.endpoint)

    def held_addresses(self) -> set[str]:
        """Return the addresses that originals in our hands pay: not to be handed out again."""
        return self.originals.held_addresses()

    def reserved_outpoints(self) -> set[str]:
        """Return the coins in open proposals."""
        return self.ledger.reserved_outpoints()

    # Offers

    def plain_uri(self, request: Request) -> str | None:
        """Return Electrum's own URI of a request."""
        uri: str | None = request.get_bip21_URI()
        return uri

    def _offer(self, request: Request, *, late: bool = False) -> None:
        session_id, created = self.offering.new_session(request, now())
        if late:
            self._late.add(session_id)  # first of all: another thread may ask for the URI at any moment
        self.store.drop_waiting(created.request_id)
        self.ledger.create(session_id, created)
        get_asyncio_loop().call_soon_threadsafe(self._run, session_id)

    async def offer_late(self) -> None:
        """Give the requests that waited for it their session, now that the cause may have gone."""
        if self.store.unreadable is not None:
            return
        self.store.set_directory_keys(self._services.cache.dump())
        for request_id in self.store.waiting_requests():
            request = self.wallet.get_request(request_id)
            over = request is None or request.has_expired() or request_paid(self.wallet, request)
            if over or self.offering.why_never(request) is not None:
                self.store.drop_waiting(request_id)
            elif self.offering.why_not_now() is None:
                self._offer(request, late=True)
        backoff = Backoff()
        while self._late and not self._is_stopped:
            made = frozenset(self._late)
            try:
                await self.store.flush()
            except OSError as trouble:
                self.logger.info(f"new payjoin sessions wait for the disk: {trouble!r}")
                await asyncio.sleep(backoff.next())
                continue
            self._late -= made
            self.changed()

    # The chain

    def _chain_changed(self) -> None:
        """Look at the chain soon, once for many changes. On any thread."""
        if not self._look_wanted:
            self._look_wanted = True
            get_asyncio_loop().call_soon_threadsafe(self._look_at_chain)

    def _look_at_chain(self) -> None:
        self._look_wanted = False
        for session in self.ledger.unsettled():
            if self.settling.look_at_chain(session):
                self._stop_soon(session.id)
            elif self.settling.is_coin_gone(session):
                self._give_up(session)
        self.originals.drop_settled()
        for runner in list(self.runners.values()):  # another thread may delete a request meanwhile
            runner.wallet_changed()
        if self.store.waiting_requests():
            asyncio.get_running_loop().create_task(self.offer_late())

    def _give_up(self, session: ReceiverSession) -> None:
        """End the live task of a session whose coin of ours went elsewhere; the original is treated as at expiry."""
        runner = self.runners.get(session.id)
        if runner is not None and runner.end is not End.COIN_GONE:
            runner.end = End.COIN_GONE
            self._tasks[session.id].cancel()
            self._tasks[session.id] = asyncio.get_running_loop().create_task(self._fall_back(runner))

    def _coins_moved(self, session: ReceiverSession, conflicts: Sequence[Spender]) -> None:
        """Act on what the sender's coins are spent by: a session that has not answered asks the user."""
        if self.settling.close_by(session, conflicts):
            self._stop_soon(session.id)
        elif (runner := self.runners.get(session.id)) is not None:
            runner.coins_moved()
        self.changed()

    # What people do

    def held_original(self, session_id: str) -> Original | None:
        """Return the sender's payment, also of a closed session. Raises UnreadableLog."""
        return held_original(self.ledger.session(session_id).state)

    async def abort(self, session_id: str) -> None:
        """End a session; on disk before this returns. Raises UserError where it has ended otherwise, UnreadableLog."""
        session = self.ledger.session(session_id)
        self._end(session)
        if isinstance(session.state, SessionClosed) and not isinstance(session.state.outcome, Abort):
            status = self.report.row(session_id)["status"]
            raise UserError("session_id: " + _("session {} has ended already: {}").format(session_id, status))
        try:
            await self.store.flush()
        finally:
            self._stop_soon(session_id)

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
        """Make a request plain for good. Raises UserError where the sender has answered."""
        session = self.ledger.of_request(request_id)
        if session is not None:
            if not isinstance(session.state, WaitingForOriginal):
                said = _("the sender of {} has answered already: see payjoin_abort {}").format(request_id, session.id)
                raise UserError(f"request_id: {said}")
            await self.abort(session.id)
        self.store.drop_waiting(request_id)
        self.store.decline(request_id)
        await self.store.flush()

    def answer(self, session_id: str, *, password: str | None) -> None:
        """Take the user's word to answer now. Raises UserError where nothing waits for it."""
        runner = self.runners.get(session_id)
        if runner is None or runner.waiting in (None, Waiting.FAULT):
            raise UserError("session_id: " + _("session {} is not waiting for an answer").format(session_id))
        runner.answer_now(Consent(password))

    async def broadcast_original(self, session_id: str) -> str:
        """Broadcast the sender's payment and return its txid. Raises UserError, UnreadableLog, Unreachable."""
        return await self.settling.broadcast_original(self.ledger.session(session_id))
