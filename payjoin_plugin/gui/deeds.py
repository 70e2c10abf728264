"""What the buttons and menus do. Each deed runs on Electrum's loop; its end is told on Qt's thread."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from electrum.i18n import _
from PyQt6.QtCore import QObject

from ..app.view import Share, View, foreseen_share, view_of
from ..session.status import Status
from .abort import AbortDialog
from .labels import one_line
from .words import Act, Line, fee_words, line_of, sat, short_txid, why_no_abort

if TYPE_CHECKING:
    from electrum.gui.qt.main_window import ElectrumWindow

    from ..app.sessions import WalletSessions
    from .bridge import Bridge
    from .questions import Questions


class Deeds(QObject):
    """The deeds in one window."""

    def __init__(
        self,
        window: ElectrumWindow,
        sessions: WalletSessions,
        bridge: Bridge,
        questions: Questions,
        *,
        details: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        """`details(session_id)` opens the sessions window; `changed()` repaints what shows sessions."""
        super().__init__(window)
        self._window, self._sessions, self._bridge = window, sessions, bridge
        self.questions = questions
        self.show_details, self._changed = details, changed
        self.foreseen: dict[str, Share] = {}
        """What answering would add and cost, by session, as far as it was asked for."""
        self._aborting: list[AbortDialog] = []
        self._agreed: dict[str, Share] = {}
        """What the user agreed to give, by session: an answer that would give something else asks again."""
        self._asked: set[str] = set()
        """The sessions about whose answer a question is open, or on its way."""
        self._broadcasting: set[str] = set()
        """The sessions whose original or payjoin is being broadcast since a button was pressed."""

    def line(self, view: View) -> Line:
        """Return a session's status line; a pressed button says what it does until that is done."""
        if self.is_broadcasting(view.session_id) and view.paid_by is None:
            return Line(_("Broadcasting…"))
        return line_of(view, self._window.config, self.foreseen.get(view.session_id))

    def is_broadcasting(self, session_id: str) -> bool:
        """Tell whether a button was pressed to broadcast something of a session, and the answer is not here yet."""
        return session_id in self._broadcasting

    def do(self, act: Act, session_id: str) -> None:
        """Do what a button says."""
        deeds: dict[Act, Callable[[str], None]] = {
            Act.UNLOCK: self.unlock,
            Act.ANSWER: self.answer,
            Act.ANSWER_ANYWAY: self.answer_anyway,
            Act.BROADCAST: self.broadcast,
            Act.BROADCAST_AGAIN: self.broadcast_again,
            Act.REMOVE: self.remove,
            Act.SHOW: self.show,
            Act.ABORT: self.abort,
            Act.NEW_REQUEST: self.new_request,
            Act.DETAILS: self.show_details,
        }
        deeds[act](session_id)

    def abort(self, session_id: str) -> None:
        """Ask once, and abort."""
        dialog = AbortDialog(
            self._window.top_level_window(),
            partial(view_of, self._sessions, session_id),
            self._window.config,
            abort=partial(self._abort, session_id=session_id),
        )
        request = self._sessions.wallet.get_request(view_of(self._sessions, session_id).request_id)
        if name := one_line(request.get_message() if request is not None else "", 30):
            dialog.setWindowTitle(f"{dialog.windowTitle()} · {name}")  # a menu may be of another row than one thinks
        self._aborting.append(dialog)
        try:
            self.questions.run(dialog)
        finally:
            self._aborting.remove(dialog)

    def refresh(self) -> None:
        """A session may have moved on under an open question."""
        for dialog in self._aborting:
            dialog.refresh()

    def _abort(self, dialog: AbortDialog, *, session_id: str) -> None:
        def done(_: None) -> None:
            dialog.succeeded()
            self._changed()
            if dialog.wants_broadcast:
                self._broadcast_original(session_id)

        def failed(sentence: str) -> None:
            view = view_of(self._sessions, session_id)
            ended_otherwise = view.status not in (Status.ACTIVE, Status.ABORTED)
            dialog.failed((why_no_abort(view) if ended_otherwise else None) or sentence)

        self._bridge.run(self._sessions.abort(session_id), done, failed)

    def unlock(self, session_id: str) -> None:
        """Ask for the password by Electrum's own dialog, and answer with it."""
        if (
            self._sessions.settings.ask_before_contributing and session_id not in self._agreed
        ):  # turned on since it began to wait
            self.answer(session_id)
            return
        password = self._password()
        if password is not None:
            self._answer(session_id, password, self._agreed.get(session_id))

    def answer(self, session_id: str) -> None:
        """Say what answering adds and costs, and answer."""
        self._foresee_and_ask(session_id)

    def answer_anyway(self, session_id: str) -> None:
        """Answer though the sender's coins were seen spent elsewhere."""
        warning = _(
            "The sender's coins were spent elsewhere. If you answer, one of your coins is shown to them, and the "
            "payment may never come."
        )
        if self._sessions.settings.ask_before_contributing:
            self._foresee_and_ask(session_id, warning)
        elif self.questions.ask(self._window, warning + " " + _("Answer all the same?"), _("Answer all the same")):
            self._answer_with_password(session_id, despite_double_spend=True)

    def _foresee_and_ask(self, session_id: str, warning: str = "") -> None:
        """One question at a time: a button can be clicked twice."""
        if session_id in self._asked:
            return
        self._asked.add(session_id)

        def ask(share: Share | None) -> None:
            try:
                # Signed already, and held back after a restart: nothing is to be foreseen any more.
                self._ask_to_answer(session_id, share or view_of(self._sessions, session_id).share, warning)
            finally:
                self._asked.discard(session_id)

        def failed(sentence: str) -> None:
            self._asked.discard(session_id)
            self._window.show_error(sentence)

        self._bridge.run(self._foresee(session_id), ask, failed)

    def broadcast(self, session_id: str) -> None:
        """Ask, and broadcast the sender's own payment."""
        held = view_of(self._sessions, session_id).held
        if held is None:
            return
        question = _("Broadcast the sender's own payment of {}, without payjoin? Its fee: {}. Transaction {}.")
        said = question.format(
            self._window.config.format_amount_and_units(held.payment_sat),
            fee_words(held, self._window.config),
            short_txid(held.txid),
        )
        if self.questions.ask(self._window, said, _("Broadcast original payment")):
            self._broadcast_original(session_id)

    def broadcast_again(self, session_id: str) -> None:
        """Broadcast a payjoin that the network dropped."""
        txid = view_of(self._sessions, session_id).payjoin_txid
        tx = self._sessions.wallet.adb.get_transaction(txid) if txid else None
        if tx is None:
            self._window.show_error(_("The wallet no longer has this transaction."))
            return
        self._broadcast(session_id, partial(self._sessions.settling.broadcast_payjoin, session_id, tx.serialize()))

    def remove(self, session_id: str) -> None:
        """Remove a payjoin that the network dropped from the history, as Electrum does: with what spends it."""
        txid, adb = view_of(self._sessions, session_id).payjoin_txid, self._sessions.wallet.adb
        children = len(adb.get_depending_transactions(txid)) if txid else 0
        question = _("Remove the dropped transaction from your history? The request counts as unpaid again.")
        if children:
            question += " " + _("{} other transactions that spend it go too.").format(children)
        if txid and self.questions.ask(self._window, question, _("Remove transaction")):
            if not adb.get_tx_height(txid).is_local_like():  # it came back under the question
                self._window.show_error(_("The payjoin is in the network again, and was not removed."))
                return
            adb.remove_transaction(txid)
            self._sessions.wallet.save_db()
            self._window.need_update.set()
            self._changed()

    def show(self, session_id: str) -> None:
        """Show the transaction that paid, by Electrum's own dialog."""
        view = view_of(self._sessions, session_id)
        txid = view.paid_txid or (view.replaced_by or (None,))[0] or view.payjoin_txid
        tx = self._sessions.wallet.adb.get_transaction(txid) if txid else None
        if tx is None:
            self._window.show_error(_("The wallet no longer has this transaction."))
            return
        self._window.show_transaction(tx)

    def new_request(self, session_id: str) -> None:
        """Put the amount and the description of a request that failed into the tab's fields again."""
        view = view_of(self._sessions, session_id)
        request = self._sessions.wallet.get_request(view.request_id)
        tab = self._window.receive_tab
        tab.do_clear()
        tab.receive_amount_e.setAmount(view.amount_sat)
        tab.receive_message_e.setText(request.get_message() if request is not None else "")
        self._window.show_receive_tab()
        tab.receive_amount_e.setFocus()

    def decline(self, request_id: str) -> None:
        """Make a request plain."""
        self._bridge.run(self._sessions.decline(request_id), lambda _: self._changed(), self._window.show_error)

    def copy_link(self, view: View) -> None:
        """Copy a request's URI as it is now."""
        request = self._sessions.wallet.get_request(view.request_id)
        uri = self._sessions.wallet.get_request_URI(request) if request is not None else None
        if uri:
            self._window.do_copy(uri, title=_("Bitcoin URI"))

    def foresee(self, session_id: str) -> None:
        """Find out what answering would add and cost; what shows it is repainted then."""

        def done(share: Share | None) -> None:
            if share is not None and self.foreseen.get(session_id) != share:
                self.foreseen[session_id] = share
                self._changed()

        self._bridge.run(self._foresee(session_id), done)

    async def _foresee(self, session_id: str) -> Share | None:
        return foreseen_share(self._sessions, session_id)

    def _ask_to_answer(self, session_id: str, share: Share | None, warning: str) -> None:
        if share is None:
            self._show_why_not(session_id, _("There is nothing to answer now."))
            return
        amounts = self._window.config.format_amount_and_units
        question = _(
            "Answer with your coin {} of {}?\n\n"
            "You receive {} net of it; your share of the fee is {}, the sender pays {}."
        ).format(
            _short_outpoint(share.outpoints[0]),
            amounts(share.contributed_sat),
            amounts(share.received_sat),
            sat(share.receiver_fee_sat),
            sat(share.sender_fee_sat),
        )
        if self._agreed.get(session_id, share) != share:
            question = _("The coin or the fee has changed since you agreed.") + "\n\n" + question
        if warning:
            question = warning + "\n\n" + question
        if self.questions.ask(self._window, question, _("Answer all the same") if warning else _("Answer the sender")):
            self._agreed[session_id] = share
            self._answer_with_password(session_id, share, despite_double_spend=bool(warning))

    def _answer_with_password(
        self, session_id: str, agreed: Share | None = None, *, despite_double_spend: bool
    ) -> None:
        if not view_of(self._sessions, session_id).is_active:
            self._show_why_not(session_id)
        elif not self._sessions.receiver_wallet.locked():
            self._answer(session_id, None, agreed, despite_double_spend=despite_double_spend)
        elif (password := self._password()) is not None:
            self._answer(session_id, password, agreed, despite_double_spend=despite_double_spend)

    def _answer(
        self, session_id: str, password: str | None, agreed: Share | None, *, despite_double_spend: bool = False
    ) -> None:
        """Answer, unless a double spend has come to light since, of which nobody was told."""

        async def answer() -> None:
            self._sessions.answer(
                session_id, password=password, agreed=agreed, despite_double_spend=despite_double_spend
            )

        self._bridge.run(answer(), lambda _: self._changed(), partial(self._show_why_not, session_id))

    def _show_why_not(self, session_id: str, sentence: str = "") -> None:
        """Say why nothing was answered: `sentence`, unless the session moved on under the question."""
        view = view_of(self._sessions, session_id)
        if not view.is_active:
            sentence = _("This payjoin has ended meanwhile.")
        elif view.answered:
            sentence = _("This payjoin was answered meanwhile.")
        self._window.show_error(sentence)

    def _password(self) -> str | None:
        return self.questions.password(self._window, _("A sender is waiting. Your password signs this one answer."))

    def _broadcast_original(self, session_id: str) -> None:
        self._broadcast(session_id, partial(self._sessions.broadcast_original, session_id))

    def _broadcast(self, session_id: str, broadcast: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Broadcast, once for however many clicks."""
        if self.is_broadcasting(session_id):
            return

        def done(_: object) -> None:
            self._broadcasting.discard(session_id)
            self._changed()

        def failed(sentence: str) -> None:
            done(None)
            self._window.show_error(sentence)

        self._broadcasting.add(session_id)
        self._changed()
        self._bridge.run(broadcast(), done, failed)


def _short_outpoint(outpoint: str) -> str:
    txid, _, vout = outpoint.partition(":")
    return f"{short_txid(txid)}:{vout}"
