"""The live tasks of one wallet's sessions: begun, driven to their end or to a fault, and ended at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from electrum.logging import Logger
from electrum.util import get_asyncio_loop

from ..client.deadline import sleep_until
from ..client.mail import Mail
from ..client.pace import Pace
from ..client.runner import End, Runner
from ..errors import WalletError
from ..session.events import ReceiverEvent, RenewedKeys
from ..session.receiver import ReceiverState, created_of
from ..session.status import Waiting
from .ledger import Ledger, ReceiverSession, now

if TYPE_CHECKING:
    from ..client.transport import HttpTransport
    from ..wallet.receiving import ElectrumReceiverWallet
    from .doublespend import DoubleSpends
    from .services import Services
    from .settling import Settling


class LiveSessions(Logger):
    """One task for each session of which something may come. On Electrum's event loop where not said otherwise."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        receiver_wallet: ElectrumReceiverWallet,
        services: Services,
        settling: Settling,
        double_spends: DoubleSpends,
        changed: Callable[[], None],
    ) -> None:
        """`changed()` is called after every change that a person may see."""
        Logger.__init__(self)
        self.runners: dict[str, Runner] = {}
        """By session ID; of those whose task has ended too, for what they have to say."""
        self._ledger, self._receiver_wallet, self._services = ledger, receiver_wallet, services
        self._settling, self._double_spends, self._changed = settling, double_spends, changed
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def run(self, session_id: str) -> None:
        """Begin the task of a session that is open and has none."""
        session = self._ledger.open.get(session_id)
        if session is None or session_id in self._tasks:
            return
        transport = self._services.new_transport()
        made_at, expires_at = session.records[0].at, created_of(session.state).expires_at
        runner = Runner(
            session,
            wallet=self._receiver_wallet,
            mail=Mail(transport, self._services.relays, time.time),
            store=self._ledger.store,
            policy=self._services.settings,
            clock=time.time,
            pace=Pace(lambda: self._services.turn(transport, session_id, made_at=made_at, expires_at=expires_at)),
            record=lambda state, event: self._record(session, state, event),
            changed=lambda: self._moved(session),
        )
        self.runners[session_id] = runner
        self._tasks[session_id] = asyncio.get_running_loop().create_task(self._drive(runner, transport))

    def awaken(self) -> list[str]:
        """Forget the tasks that have ended by a clock that was ahead, and return their sessions, to be run anew."""
        early = [
            session_id
            for session_id, runner in list(self.runners.items())
            if runner.end is End.EXPIRED
            and created_of(runner.session.state).expires_at > now()
            and not self.is_at_work(session_id)
        ]
        for session_id in early:
            del self.runners[session_id], self._tasks[session_id]
        return early

    def is_at_work(self, session_id: str) -> bool:
        """Tell whether a session has a task that goes on."""
        task = self._tasks.get(session_id)
        return task is not None and not task.done()

    async def stop(self) -> None:
        """End every task."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def stop_soon(self, session_id: str) -> None:
        """End the task of a session that is over. On any thread."""
        self._double_spends.stop(session_id)
        self.runners.pop(session_id, None)
        if (task := self._tasks.pop(session_id, None)) is not None:
            get_asyncio_loop().call_soon_threadsafe(task.cancel)
        self._changed()

    def give_up(self, session: ReceiverSession) -> None:
        """End the task of a session whose coin of ours went elsewhere; the original is treated as at expiry."""
        runner = self.runners.get(session.id)
        if runner is not None and runner.end is not End.COIN_GONE:
            runner.end = End.COIN_GONE
            self._tasks[session.id].cancel()
            self._tasks[session.id] = asyncio.get_running_loop().create_task(self._fall_back(runner))

    def wallet_changed(self) -> None:
        """Have those look again that wait for the wallet."""
        for runner in list(self.runners.values()):  # another thread may delete a request meanwhile
            runner.wallet_changed()

    def _record(self, session: ReceiverSession, state: ReceiverState, event: ReceiverEvent) -> bool:
        recorded = self._ledger.record(session, event, after=state)
        if recorded and isinstance(event, RenewedKeys):
            # The next request must not be offered with keys that the directory has refused.
            self._services.cache.put(created_of(state).directory, event.ohttp_keys, time.time())
        return recorded

    def _moved(self, session: ReceiverSession) -> None:
        self._double_spends.watch(session)
        self._changed()

    async def _drive(self, runner: Runner, transport: HttpTransport) -> None:
        try:
            runner.end = await runner.run()
        except Exception:
            # A fault of ours ends this task and no other; its log stands, and the next start tries again.
            self.logger.exception("a payjoin session had a fault")
            runner.waiting = Waiting.FAULT
            self._changed()
        finally:
            await transport.close()
        if runner.waiting is Waiting.FAULT:  # what is held is worth a payment all the same, when its time has come
            await sleep_until(created_of(runner.session.state).expires_at, now)
        await self._fall_back(runner)
        if runner.end is End.EXPIRED and self._ledger.let_lapse(runner.session):
            del self.runners[runner.session.id], self._tasks[runner.session.id]

    async def _fall_back(self, runner: Runner) -> None:
        """See to the sender's own payment after a session's task has ended."""
        runner.waiting = None
        self._changed()

        def refused(sentence: str) -> None:
            runner.trouble = WalletError(sentence)
            self._changed()

        try:
            due_at = created_of(runner.session.state).expires_at if runner.end in (None, End.EXPIRED) else 0
            await self._settling.without_payjoin(runner.session, refused, due_at=due_at)
        except Exception:
            self.logger.exception("a sender's own payment could not be seen to")
        if isinstance(runner.trouble, WalletError):
            runner.trouble = None
        self._changed()
