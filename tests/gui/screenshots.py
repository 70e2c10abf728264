"""Pictures of the real window: every state of the receive tab, and every dialog.

python -m tests.gui.screenshots FOLDER light|dark|long

`long` is light, with every sentence 40 % longer, as a translation may be. Where DISPLAY is set the window opens there
(`xvfb-run make screenshots`), else offscreen; QT_QPA_PLATFORM has the last word.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from gettext import NullTranslations
from pathlib import Path
from typing import Any

if os.environ.get("DISPLAY"):
    os.environ.setdefault("QT_QPA_PLATFORM", "xcb")

from electrum import i18n
from electrum.gui.qt.transaction_dialog import dialogs
from electrum.i18n import _
from PyQt6.QtCore import QRect, QTimer

from payjoin_plugin.app.view import View, view_of, view_of_request
from payjoin_plugin.app.visible import PaidBy
from payjoin_plugin.errors import Fault
from payjoin_plugin.gui import receive
from payjoin_plugin.gui.removal import RemovalDialog
from payjoin_plugin.gui.settings import SettingsDialog
from payjoin_plugin.session.events import Abort, Closed, Failure, RefusedOriginal
from payjoin_plugin.session.status import Stage, Status, Waiting
from tests.gui.house import House, Resident, press
from tests.wallet.wallets import PASSWORD, electrum_running

UPPER_HALF = QRect(0, 0, 1024, 430)
"""Of a window: what is ours in the receive tab is there."""

ENDED: dict[str, Any] = {"stage": None, "share": None, "offers": False}
LINES: dict[str, dict[str, Any]] = {
    "checking": {"stage": Stage.CHECKING_ORIGINAL},
    "no-coin": {"stage": Stage.WAITING_FOR_WALLET, "waiting": Waiting.NO_COIN},
    "double-spend": {"stage": Stage.WAITING_FOR_WALLET, "waiting": Waiting.DOUBLE_SPEND},
    "posting": {"stage": Stage.POSTING_PROPOSAL},
    "refusing": {"stage": Stage.POSTING_ERROR},
    "fault": {"stage": Stage.WAITING_FOR_WALLET, "waiting": Waiting.FAULT},
    "answered-double-spend": {"stage": Stage.WAITING_FOR_BROADCAST, "double_spent": True},
    "answered-elsewhere": {"stage": Stage.WAITING_FOR_BROADCAST, "answered_elsewhere": True},
    "unreachable": {
        "stage": Stage.WAITING_FOR_SENDER,
        "trouble": "The payjoin service cannot be reached; trying again.",
    },
    "refused": {
        "status": Status.EXPIRED,
        "refused": True,
        "trouble": "It was refused, and is tried again: min relay fee not met",
    },
    "on-its-way": {"stage": Stage.WAITING_FOR_BROADCAST, "paid_by": PaidBy.PAYJOIN},
    "dropped": {"status": Status.COMPLETED, "payjoin_kept": True},
    "replaced": {"status": Status.COMPLETED, "replaced_by": ("00", 99_000)},
    "dropped-and-removed": {"status": Status.COMPLETED},
    "paid-plainly": {"status": Status.PAID_WITHOUT_PAYJOIN, "paid_by": PaidBy.ORIGINAL, "paid_txid": "00"},
    "failed-paid": {"status": Status.FAILED, "fault": Fault.SEEN_BEFORE, "paid_by": PaidBy.ORIGINAL},
    "aborted": {"status": Status.ABORTED, "held": None},
    "aborted-paid": {"status": Status.ABORTED, "paid_by": PaidBy.ORIGINAL},
    "aborted-completed": {"status": Status.ABORTED, "paid_by": PaidBy.PAYJOIN},
    "expired": {"status": Status.EXPIRED, "held": None},
    "expired-unchecked": {"status": Status.EXPIRED, "held": None, "unchecked": True},
    "expired-held": {"status": Status.EXPIRED},
    "expired-paid": {"status": Status.EXPIRED, "paid_by": PaidBy.ORIGINAL},
    "expired-completed": {"status": Status.EXPIRED, "paid_by": PaidBy.PAYJOIN},
    "unreadable": {"status": Status.UNREADABLE},
    "unreadable-newer": {"status": Status.UNREADABLE, "newer": True},
}
"""The lines that no picture of a real turn has, and how their view differs from that of an answered session."""


class Camera:
    """Takes the pictures."""

    def __init__(self, house: House, folder: Path) -> None:
        self.house, self.folder = house, folder
        folder.mkdir(parents=True, exist_ok=True)

    def take(self, name: str, widget: Any, part: QRect | None = None) -> None:
        """Take a picture of a widget, or of a part of it."""
        self.house.settle(0.3)
        widget.grab(*([part] if part is not None else [])).save(str(self.folder / f"{name}.png"))

    def take_dialog(self, name: str, opens: Callable[[], None]) -> None:
        """Take a picture of the modal dialog that `opens` opens, and leave it."""

        def shoot() -> None:
            dialog = self.house.gui.app.activeModalWidget()
            dialog.grab().save(str(self.folder / f"{name}.png"))
            dialog.reject()

        QTimer.singleShot(600, shoot)
        opens()

    def take_menu(self, name: str, opens: Callable[[], None]) -> None:
        """Take a picture of the menu that `opens` opens, and leave it."""

        def shoot() -> None:
            menu = self.house.gui.app.activePopupWidget()
            menu.grab().save(str(self.folder / f"{name}.png"))
            menu.close()

        QTimer.singleShot(600, shoot)
        opens()


def receive_tab(house: House, camera: Camera) -> None:
    """Every state of a request that goes its way."""
    shop = house.open("shop", 5_000_000, 3_000_000).with_keys()
    camera.take("receive-new", shop.window)
    show_qr(shop)
    shop.request()
    camera.take("receive-waiting", shop.window)
    camera.take_dialog("abort-waiting", lambda: shop.press("Abort payjoin"))
    offer = house.sender().offer(shop)
    house.until(lambda: shop.says("Answered"))
    camera.take("receive-answered", shop.window)
    camera.take_dialog("abort-answered", lambda: shop.press("Abort payjoin"))
    camera.take_menu("requests-menu", lambda: open_menu(shop.tab.request_list))
    session_id = shop.session_of(str(shop.tab.request_list.get_current_key()))
    camera.take_dialog("answer-anyway", lambda: shop.parts.deeds.answer_anyway(session_id))
    camera.take_dialog("remove-transaction", lambda: shop.parts.deeds.remove(session_id))
    shop.window.toggle_tab(shop.window.utxo_tab)
    shop.window.tabs.setCurrentWidget(shop.window.utxo_tab)
    coins = shop.window.utxo_list
    camera.take("coins-reserved", shop.window)
    camera.take_menu("coins-menu", lambda: open_menu(coins, row=coins_row(coins, shop.sessions.reserved_outpoints())))
    shop.window.show_receive_tab()
    offer.complete(shop)
    house.until(lambda: shop.says("Paid by payjoin"))
    camera.take("receive-paid", shop.window)
    tx = shop.wallet.adb.get_transaction(view_of(shop.sessions, session_id).paid_txid)
    camera.take_dialog("increase-fee", lambda: shop.window.bump_fee_dialog(tx))
    camera.take_dialog("cancel-payjoin", lambda: shop.window.dscancel_dialog(tx))
    shop.press("Show transaction")
    camera.take("transaction", dialogs[-1])
    dialogs[-1].close()
    shop.window.tabs.setCurrentIndex(0)
    camera.take("history", shop.window, UPPER_HALF)


def coins_row(coins: Any, outpoints: set[str]) -> int:
    """Return the row of one of `outpoints`."""
    column, role = coins.Columns.OUTPOINT, coins.ROLE_PREVOUT_STR
    rows = range(coins.model().rowCount())
    return next(row for row in rows if coins.get_role_data_from_coordinate(row, column, role=role) in outpoints)


def open_menu(rows: Any, *, row: int = 0) -> None:
    """Open the menu of a row of a list."""
    index = rows.model().index(row, 0)
    rows.setCurrentIndex(index)
    rows.create_menu(rows.visualRect(index).center())


def show_qr(shop: Resident) -> None:
    """Have the tab show the code, as Electrum then does in each window."""
    if not shop.house.config.GUI_QT_RECEIVE_TAB_QR_VISIBLE:
        shop.tab.toggle_receive_qr()


def lines(house: House, camera: Camera) -> None:
    """The other lines: of what is rare, or over before a picture is taken. The window is real, its session is not."""
    shop = house.open("lines", 5_000_000).with_keys()
    show_qr(shop)
    request_id = shop.request()
    house.sender().offer(shop)
    house.until(lambda: shop.says("Answered"))
    answered = view_of_request(shop.sessions, request_id)
    assert answered is not None
    for name, differs in LINES.items():
        view = replace(answered, **(ENDED if "status" in differs else {}) | differs)
        with shown(view):
            shop.parts.panel.refresh()
            camera.take(f"line-{name}", shop.window, UPPER_HALF)


@contextmanager
def shown(view: View) -> Any:
    """Let the receive tab show `view`, whatever is selected."""
    vars(receive)[view_of_request.__name__] = lambda *_request: view
    try:
        yield
    finally:
        vars(receive)[view_of_request.__name__] = view_of_request


def without_payjoin(house: House, camera: Camera) -> None:
    """The sender's own payment, refusals, and what cannot be."""
    shop = house.open("cafe", 5_000_000, 3_000_000).with_keys()
    shop.request(None, "Whatever you like")
    camera.take("receive-no-amount", shop.window)
    house.network.is_online = False
    shop.request(50_000, "On its way")
    camera.take("receive-preparing", shop.window)
    house.network.is_online = True
    shop.sessions._chain_changed()
    house.until(lambda: shop.says("copy it again"))
    camera.take("receive-upgraded", shop.window)
    request_id = shop.request(60_000, "Refused")
    end(shop, request_id, Closed(Failure()))
    camera.take("receive-failed", shop.window)
    choosy = house.open("choosy", 5_000_000).with_keys()
    choosy.request(5_000, "Too small")
    camera.take("receive-minimum", choosy.window, UPPER_HALF)
    choosy.parts.deeds.decline(choosy.request(70_000, "Plain"))
    camera.take("receive-declined", choosy.window, UPPER_HALF)
    bare = house.open("bare")
    camera.take("receive-no-coin", bare.window)
    house.answers(press("OK"))  # Electrum warns of such a wallet
    watching = house.open("watching", text=bare.wallet.keystore.get_master_public_key())
    camera.take("receive-cannot", watching.window, UPPER_HALF)


def locked(house: House, camera: Camera) -> None:
    """A sender waits for the password, or for a word."""
    shop = house.open("locked", 5_000_000, password=PASSWORD).with_keys()
    request_id = shop.request()
    house.sender().offer(shop)
    house.until(lambda: shop.says("Unlock the wallet"))
    camera.take("receive-locked", shop.window)
    camera.take_dialog("unlock", lambda: shop.press("Unlock and answer"))
    camera.take_dialog("abort-held", lambda: shop.press("Abort payjoin"))
    camera.take_dialog("delete-held", lambda: shop.tab.request_list.delete_requests([request_id]))
    other_id = shop.request(70_000, "Lunch")
    house.sender().offer(shop)
    house.until(lambda: shop.says("Unlock the wallet"))
    camera.take_dialog("delete-several", lambda: shop.tab.request_list.delete_requests([request_id, other_id]))
    end(shop, other_id, Closed(Abort()))
    shop.tab.request_list.set_current_key(request_id)
    stake = house.plugin.at_stake()
    camera.take_dialog("remove", lambda: RemovalDialog(shop.window, stake, house.config).exec())
    end(shop, request_id, Closed(Abort()))
    camera.take("receive-aborted-held", shop.window)
    camera.take_dialog("broadcast", lambda: shop.press("Broadcast it…"))
    shop.parts.deeds._broadcasting.add(shop.session_of(request_id))
    shop.parts._refresh()
    camera.take("receive-broadcasting", shop.window)
    shop.parts.deeds._broadcasting.clear()
    shop.parts._refresh()
    house.config.set_key("plugins.payjoin.ask_before_contributing", value=True, save=False)
    asking = house.open("asking", 5_000_000).with_keys()
    request_id = asking.request()
    house.sender().offer(asking)
    house.until(lambda: asking.says("Adding"))
    camera.take("receive-ask", asking.window)
    camera.take_dialog("answer", lambda: ask(house, lambda: asking.press("Answer…")))
    session = asking.sessions.ledger.open[asking.session_of(request_id)]
    camera.take_dialog("answer-anyway-asked", lambda: ask(house, lambda: asking.parts.deeds.answer_anyway(session.id)))
    asking.sessions.double_spends.seen.add(session.id)
    camera.take_dialog("abort-double-spent", lambda: asking.press("Abort payjoin"))
    asking.sessions.double_spends.seen.clear()
    asking.sessions.ledger.record(session, RefusedOriginal(Fault.COSTS_TOO_MUCH, "{}"))
    end(asking, request_id, Closed(Failure()))
    camera.take("receive-failed-held", asking.window)
    house.config.set_key("plugins.payjoin.ask_before_contributing", None, save=False)


def ask(house: House, answer: Callable[[], None]) -> None:
    """Begin to answer; the question comes a moment later."""
    answer()
    house.settle(1)


def end(shop: Resident, request_id: str, event: Closed) -> None:
    """End a session as it would end."""
    session_id = shop.session_of(request_id)
    shop.sessions.ledger.record(shop.sessions.ledger.open[session_id], event)
    shop.sessions.live.stop_soon(session_id)
    shop.house.settle(0.3)


def sessions_window(house: House, camera: Camera) -> None:
    """The list, empty and filled."""
    shop = house.open("ledger", 5_000_000).with_keys()
    shop.parts.show_sessions(None)
    camera.take("sessions-empty", shop.parts._window_of_sessions)
    shop.parts._window_of_sessions.close()
    for message, amount in (("Rent", 40_000_000), ("Invoice 117, to be paid within fourteen days", 25_000_000)):
        end(shop, shop.request(amount, message), Closed(Abort()))
    shop.request(25_000_000, "Invoice 118")
    request_id = shop.request()
    house.sender().offer(shop)
    house.until(lambda: shop.says("Answered"))
    shop.parts.show_sessions(shop.session_of(request_id))
    window = shop.parts._window_of_sessions
    house.until(lambda: window._has_loaded)
    window.show_box.setCurrentText(_("All"))
    camera.take("sessions", window)
    shop.window.tabs.setCurrentWidget(shop.window.receive_tab)
    camera.take_dialog("export", window._export)


def settings(house: House, camera: Camera) -> None:
    """The settings dialog."""
    shop = house.open("settings", 5_000_000)
    for name in ("directories", "ohttp_relays"):
        house.config.set_key(f"plugins.payjoin.{name}", None, save=False)
    dialog = SettingsDialog(shop.window, house.config, house.plugin.services)
    dialog.show()
    camera.take("settings", dialog)
    dialog.lists.relays.add("http://relay.example")
    dialog.lists.relays.say({"https://ohttp.cakewallet.com": "ok, 0.2 s"})
    camera.take("settings-refused", dialog)
    camera.take_dialog("settings-add", dialog.lists.relays._ask)
    dialog.reject()
    house.use_mailroom()


def narrow(house: House, camera: Camera) -> None:
    """Electrum's default, small window, as far as we let it be small."""
    shop = house.open("narrow", 5_000_000).with_keys()
    shop.window.resize(840, 400)
    show_qr(shop)
    shop.request()
    camera.take("receive-narrow", shop.window)


def main() -> None:
    """Take all pictures of one theme."""
    folder, theme = Path(sys.argv[1]), sys.argv[2]
    parts = [receive_tab, lines, without_payjoin, locked, sessions_window, settings, narrow]
    if theme == "long":
        i18n._language = Longer()
    with electrum_running(), tempfile.TemporaryDirectory() as home:
        house = House(Path(home), qt_gui_color_theme="dark" if theme == "dark" else "default")
        camera = Camera(house, folder / theme)
        for part in parts:
            part(house, camera)
            house.tidy()
        house.close()
    print(f"{len(list(camera.folder.iterdir()))} pictures in {camera.folder}", flush=True)
    os._exit(0)  # Qt, taken down by the interpreter, now and then crashes when all is done


class Longer(NullTranslations):
    """Makes each word longer where it can; what is filled in stays."""

    def gettext(self, message: str) -> str:
        return re.sub(r"(?<![{&])\b([A-Za-z]+)\b", lambda word: word[0] + "n" * round(0.4 * len(word[0])), message)


if __name__ == "__main__":
    main()
