"""Pictures of the real window, offscreen: every state of the receive tab, and every dialog.

python -m tests.gui.screenshots FOLDER light|dark
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from electrum.gui.qt.transaction_dialog import dialogs
from PyQt6.QtCore import QTimer

from payjoin_plugin.errors import Fault
from payjoin_plugin.gui.settings import SettingsDialog
from payjoin_plugin.session.events import Abort, Closed, Failure, RefusedOriginal
from tests.gui.house import House, Resident
from tests.wallet.wallets import PASSWORD, electrum_running


class Camera:
    """Takes the pictures."""

    def __init__(self, house: House, folder: Path) -> None:
        self.house, self.folder = house, folder
        folder.mkdir(parents=True, exist_ok=True)

    def take(self, name: str, widget: Any) -> None:
        """Take a picture of a widget."""
        self.house.settle(0.3)
        widget.grab().save(str(self.folder / f"{name}.png"))

    def take_dialog(self, name: str, opens: Callable[[], None]) -> None:
        """Take a picture of the modal dialog that `opens` opens, and leave it."""

        def shoot() -> None:
            dialog = self.house.gui.app.activeModalWidget()
            dialog.grab().save(str(self.folder / f"{name}.png"))
            dialog.reject()

        QTimer.singleShot(600, shoot)
        opens()


def receive_tab(house: House, camera: Camera) -> None:
    """Every state of a request that goes its way."""
    shop = house.open("shop", 5_000_000).with_keys()
    camera.take("receive-new", shop.window)
    shop.tab.toggle_receive_qr()
    shop.request()
    camera.take("receive-waiting", shop.window)
    camera.take_dialog("abort-waiting", lambda: shop.press("Abort payjoin"))
    offer = house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("Answered"))
    camera.take("receive-answered", shop.window)
    camera.take_dialog("abort-answered", lambda: shop.press("Abort payjoin"))
    shop.window.toggle_tab(shop.window.utxo_tab)
    shop.window.tabs.setCurrentWidget(shop.window.utxo_tab)
    camera.take("coins-reserved", shop.window)
    shop.window.show_receive_tab()
    offer.complete(shop)
    house.until(lambda: shop.line.startswith("Paid by payjoin"))
    camera.take("receive-paid", shop.window)
    shop.press("Show transaction")
    camera.take("transaction", dialogs[-1])
    dialogs[-1].close()


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
    house.until(lambda: "copy it again" in shop.line)
    camera.take("receive-upgraded", shop.window)
    request_id = shop.request(60_000, "Refused")
    end(shop, request_id, Closed(Failure()))
    camera.take("receive-failed", shop.window)
    bare = house.open("bare")
    camera.take("receive-no-coin", bare.window)


def locked(house: House, camera: Camera) -> None:
    """A sender waits for the password, or for a word."""
    shop = house.open("locked", 5_000_000, password=PASSWORD).with_keys()
    request_id = shop.request()
    house.sender().offer(shop)
    house.until(lambda: "Unlock the wallet" in shop.line)
    camera.take("receive-locked", shop.window)
    camera.take_dialog("unlock", lambda: shop.press("Unlock and answer"))
    camera.take_dialog("abort-held", lambda: shop.press("Abort payjoin"))
    camera.take_dialog("delete-held", lambda: shop.tab.request_list.delete_requests([request_id]))
    end(shop, request_id, Closed(Abort()))
    camera.take("receive-aborted-held", shop.window)
    camera.take_dialog("broadcast", lambda: shop.press("Broadcast it…"))
    house.config.set_key("plugins.payjoin.ask_before_contributing", value=True, save=False)
    asking = house.open("asking", 5_000_000).with_keys()
    request_id = asking.request()
    house.sender().offer(asking)
    house.until(lambda: "Adding" in asking.line)
    camera.take("receive-ask", asking.window)
    camera.take_dialog("answer", lambda: ask(house, asking))
    session = asking.sessions.ledger.open[asking.session_of(request_id)]
    asking.sessions.ledger.record(session, RefusedOriginal(Fault.COSTS_TOO_MUCH, "{}"))
    end(asking, request_id, Closed(Failure()))
    camera.take("receive-failed-held", asking.window)
    house.config.set_key("plugins.payjoin.ask_before_contributing", None, save=False)


def ask(house: House, asking: Resident) -> None:
    """Press *Answer…*; its question comes a moment later."""
    asking.press("Answer…")
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
    house.until(lambda: shop.line.startswith("Answered"))
    shop.parts.show_sessions(shop.session_of(request_id))
    window = shop.parts._window_of_sessions
    house.until(lambda: window._has_loaded)
    window.show_box.setCurrentText("All")
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
    dialog.reject()
    house.use_mailroom()


@contextmanager
def narrow(house: House) -> Any:
    """Electrum's default, small window, as far as we let it be small."""
    shop = house.open("narrow", 5_000_000).with_keys()
    shop.window.resize(840, 400)
    yield shop


def main() -> None:
    """Take all pictures of one theme."""
    folder, theme = Path(sys.argv[1]), sys.argv[2]
    with electrum_running(), tempfile.TemporaryDirectory() as home:
        house = House(Path(home), qt_gui_color_theme="dark" if theme == "dark" else "default")
        camera = Camera(house, folder / theme)
        for part in (receive_tab, without_payjoin, locked, sessions_window, settings):
            part(house, camera)
            house.tidy()
        with narrow(house) as shop:
            shop.request()
            camera.take("receive-narrow", shop.window)
        house.close()
    print(f"{len(list(camera.folder.iterdir()))} pictures in {camera.folder}")


if __name__ == "__main__":
    main()
