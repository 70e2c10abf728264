"""Electrum's real window, offscreen, with our plugin in it: the wallets are real, the servers are the test mailroom and
a model of an Electrum server, and nothing leaves the machine.

    house = House(folder)
    receiver = house.open("shop", 5_000_000)            a wallet with a coin, and its window
    receiver.request(100_000, "coffee")                 by the receive tab's own button
    sender = house.sender()
    payment = sender.offer(receiver)                    the original lies in the mailbox
    house.until(lambda: "Answered" in receiver.line)
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from electrum import network as electrum_network
from electrum.daemon import Daemon
from electrum.gui.qt import ElectrumGui
from electrum.gui.qt.main_window import ElectrumWindow
from electrum.gui.qt.util import PasswordLineEdit
from electrum.i18n import _
from electrum.plugin import Plugins
from electrum.simple_config import SimpleConfig
from electrum.transaction import PartialTransaction, Transaction
from electrum.wallet import Abstract_Wallet
from PyQt6.QtCore import QEvent, QTimer
from PyQt6.QtWidgets import QCheckBox, QLabel, QPushButton

from payjoin_plugin import SETTINGS
from payjoin_plugin.app.sessions import WalletSessions
from payjoin_plugin.bip78.psbt import Psbt
from payjoin_plugin.qt import Plugin
from payjoin_plugin.session import sender as sending
from payjoin_plugin.session.events import Closed, CreatedSender, PostedOriginal, ProposalReceived
from payjoin_plugin.wire.keys import SecretKey
from payjoin_plugin.wire.mailbox import read_poll, read_post
from payjoin_plugin.wire.uri import PjEndpoint, encode_endpoint, parse
from tests.mailroom.mailroom import Mailroom
from tests.merchant import Synchronizer
from tests.wallet.servers import Chain, Network, Server
from tests.wallet.wallets import fund, make_wallet, original_psbt, pay, run, see_confirmed, see_in_mempool

PACKAGE = Path(__file__).parents[2] / "payjoin_plugin"
SECONDS = 20
CONFIG = {
    "config_version": 3,
    "check_updates": False,
    "dont_show_testnet_warning": True,
    "auto_connect": False,
    "oneserver": True,
    "decimal_point": 8,
}
"""Each of the first ones would otherwise be asked by a dialog."""


class CheckoutPlugins(Plugins):
    """Electrum's plugins, among which ours comes from the checkout instead of a zip."""

    def read_file(self, name: str, filename: str) -> bytes:
        return (PACKAGE / filename).read_bytes() if name == "payjoin" else super().read_file(name, filename)

    def is_authorized(self, name: str) -> bool:
        return True if name == "payjoin" else super().is_authorized(name)

    def load_payjoin(self) -> Plugin:
        """Enable the plugin, as Electrum does."""
        self.config.enable_plugin("payjoin")
        plugin = self.plugins["payjoin"] = Plugin(self, self.config, "payjoin")
        return plugin

    def close_plugin(self, plugin: Any) -> None:
        pass


class OnlineNetwork(Network):
    """A model of Electrum's network, as far as the plugin looks at it."""

    proxy: Any = None
    is_proxy_tor = False

    def __init__(self, chain: Chain) -> None:
        server = Server("main", chain)
        server.on_broadcast = lambda tx: self.broadcast_transaction(tx)  # noqa: PLW0108  tests put another one there
        super().__init__(server)
        self.chain = chain
        self.is_online = True
        self.broadcast: list[str] = []

    def is_connected(self) -> bool:
        return self.is_online

    def has_fee_mempool(self) -> bool:
        return False

    async def get_transaction(self, txid: str) -> str:
        raw = self.chain.transaction(txid)
        assert isinstance(raw, str)
        return raw

    async def broadcast_transaction(self, tx: Transaction) -> None:
        self.broadcast.append(tx.txid())


class House:
    """One Electrum with its windows."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        (folder / "regtest").mkdir(parents=True, exist_ok=True)
        self.config = SimpleConfig(
            {"electrum_path": str(folder), "regtest": True, "cmd": "gui", "gui": "qt", "offline": True}
        )
        for key, value in {**CONFIG, **settings}.items():
            self.config.set_key(key, value, save=False)
        self.mailroom = Mailroom(timeout=1)
        run(self.mailroom.__aenter__())
        self.use_mailroom()
        self.chain = Chain()
        self.network = OnlineNetwork(self.chain)
        electrum_network._INSTANCE = self.network
        self.daemon = Daemon(self.config, None, listen_jsonrpc=False, start_network=False)
        self.plugins = self.daemon._plugins = CheckoutPlugins(self.config, "qt")
        self.plugin = self.plugins.load_payjoin()
        self.gui = ElectrumGui(config=self.config, daemon=self.daemon, plugins=self.plugins)
        self.daemon.gui_object = self.gui
        self._numbers = itertools.count()
        self._steps: list[Step] = []
        self.rung: list[str] = []
        """Every notification of every window."""

    def open(self, name: str, *coins: int, password: str | None = None, text: str | None = None) -> Resident:
        """Make a wallet, and open its window."""
        folder = self.folder / str(next(self._numbers))
        folder.mkdir()
        wallet = make_wallet(folder, name, on_disk=True, password=password, text=text)
        fund(wallet, *coins, address=wallet.get_receiving_addresses()[-1])
        wallet.save_db()
        return self.move_in(wallet)

    def move_in(self, wallet: Abstract_Wallet) -> Resident:
        """Open a window for a wallet."""
        wallet.config = self.config
        wallet.network = self.network
        wallet.adb.synchronizer = wallet.adb.verifier = Synchronizer(self.network.interface)
        self.daemon._wallets[self.daemon._wallet_key_from_path(wallet.storage.get_path())] = wallet
        window = self.gui._create_window_for_wallet(wallet)
        window.notify = self.rung.append
        window.resize(1024, 700)
        window.show_receive_tab()
        self.settle()
        self.until(lambda: window not in self.plugin._coming, "starting the sessions")
        wallet._up_to_date = True  # Electrum said otherwise while it was opening
        if (sessions := self.plugin.sessions_of(wallet)) is not None:
            assert sessions.receiver_wallet.is_current()
        return Resident(self, window)

    def sender(self, value: int = 2_000_000) -> Sender:
        """Make a wallet that pays, each time another one; the Electrum server knows its coin."""
        name = f"sender {next(self._numbers)}"
        wallet = make_wallet(self.folder, name)
        for coin in fund(wallet, value, label=name):
            self.chain.add(wallet.db.get_transaction(coin.partition(":")[0]), height=150)
        return Sender(self, wallet)

    def settle(self, seconds: float = 0.3) -> None:
        """Let Qt and the loop do what is due."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.gui.app.processEvents()
            self.gui.app.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
            threading.Event().wait(0.005)

    def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Return once `condition` holds."""
        end = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < end, f"{what or 'it'} did not happen"
            self.settle(0.02)

    # Dialogs

    def answers(self, *steps: Step) -> list[Dialog]:
        """Do one of `steps` to each modal dialog that opens from now on; return what they said, as they come."""
        seen: list[Dialog] = []
        self._steps = list(steps)

        def look() -> None:
            dialog = self.gui.app.activeModalWidget()
            if dialog is not None and dialog.isVisible() and self._steps:
                seen.append(Dialog.read(dialog))
                try:
                    self._steps.pop(0)(dialog)
                except BaseException:
                    self._steps.clear()
                    dialog.reject()
                    raise
            if self._steps:
                QTimer.singleShot(20, look)

        QTimer.singleShot(20, look)
        return seen

    # Life

    def tidy(self) -> None:
        """Close the windows and wallets, and be as at the start."""
        self.chain.txs.clear()  # wallets and payments are made alike each time
        self._steps.clear()
        for window in list(self.gui.windows):
            self.close_window(window)
        for name in SETTINGS:
            key = f"plugins.payjoin.{name}"
            if name not in ("directories", "ohttp_relays"):
                self.config.set_key(key, None, save=False)
        self.use_mailroom()
        self.network.is_online = True
        self.network.broadcast.clear()
        self.rung.clear()

    def close_window(self, window: ElectrumWindow) -> None:
        """Close a window with its wallet."""
        window.should_stop_wallet_on_close = False
        wallet = window.wallet
        window.close()
        if (sessions := self.plugin.sessions_of(wallet)) is not None:
            run(sessions.stop())
        self.daemon._wallets.pop(self.daemon._wallet_key_from_path(wallet.storage.get_path()), None)
        self.settle(0.05)

    def use_mailroom(self) -> None:
        """Have the settings name the test mailroom."""
        self.config.set_key("plugins.payjoin.directories", [self.mailroom.directory_url], save=False)
        self.config.set_key("plugins.payjoin.ohttp_relays", [self.mailroom.relay_url], save=False)

    def close(self) -> None:
        """Close the windows, and end what was started."""
        self.tidy()
        run(self.plugin.services.stop())
        self.plugin.close()
        run(self.mailroom.stop())
        self.plugins.stop()
        self.plugins.join(5)
        electrum_network._INSTANCE = None
        self.settle(0.05)


Step = Callable[[Any], None]


@dataclass(frozen=True)
class Dialog:
    """What a dialog said when it was there."""

    title: str
    texts: tuple[str, ...]
    buttons: tuple[str, ...]

    @classmethod
    def read(cls, dialog: Any) -> Dialog:
        labels = [label.text() for label in dialog.findChildren(QLabel) if label.isVisibleTo(dialog)]
        ticks = [box.text() for box in dialog.findChildren(QCheckBox) if box.isVisibleTo(dialog)]
        return cls(
            dialog.windowTitle(),
            tuple(text for text in (*labels, *ticks) if text),
            tuple(button.text() for button in dialog.findChildren(QPushButton) if button.isVisibleTo(dialog)),
        )

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


def press(words: str, *, tick: bool | None = None, password: str | None = None) -> Step:
    """A step: press a button, after a tick was set or a password was given."""

    def step(dialog: Any) -> None:
        if tick is not None:
            (box,) = dialog.findChildren(QCheckBox)
            box.setChecked(tick)
        if password is not None:
            dialog.findChild(PasswordLineEdit).setText(password)
        buttons = [button for button in dialog.findChildren(QPushButton) if button.text() == _(words)]
        assert buttons, f"no {words!r} among {[button.text() for button in dialog.findChildren(QPushButton)]}"
        buttons[0].click()

    return step


@dataclass
class Resident:
    """A wallet and its window."""

    house: House
    window: ElectrumWindow

    @property
    def wallet(self) -> Abstract_Wallet:
        return self.window.wallet

    @property
    def tab(self) -> Any:
        return self.window.receive_tab

    @property
    def parts(self) -> Any:
        parts = self.house.plugin.parts_of(self.window)
        assert parts is not None
        return parts

    @property
    def sessions(self) -> WalletSessions:
        sessions = self.house.plugin.sessions_of(self.wallet)
        assert sessions is not None
        return sessions

    @property
    def line(self) -> str:
        """What the status line of the receive tab says."""
        return str(self.parts.panel.label.text())

    def says(self, words: str) -> bool:
        """Tell whether it has these words, in whatever language."""
        return _(words) in self.line

    @property
    def buttons(self) -> list[str]:
        """What stands on its buttons."""
        return [button.text() for button in self.parts.panel.buttons if not button.isHidden()]

    def press(self, words: str) -> None:
        """Press one of them, in whatever language."""
        (button,) = (b for b in self.parts.panel.buttons if b.text() == _(words) and not b.isHidden())
        button.click()

    def with_keys(self) -> Resident:
        """Wait until the directory's keys are at hand."""
        self.house.until(lambda: self.house.plugin.services.keeper.current() is not None, "getting keys")
        self.house.settle(0.2)
        return self

    def request(self, amount_sat: int | None = 100_000, message: str = "Two coffees") -> str:
        """Make a request in the receive tab, and return its ID."""
        self.tab.receive_amount_e.setAmount(amount_sat)
        self.tab.receive_message_e.setText(message)
        self.tab.create_onchain_invoice_button.click()
        self.house.settle(0.2)
        return str(self.tab.request_list.get_current_key())

    def session_of(self, request_id: str) -> str:
        session_id = self.sessions.store.session_of_request(request_id)
        assert session_id is not None
        return session_id


@dataclass
class Sender:
    """Somebody who pays."""

    house: House
    wallet: Abstract_Wallet
    offers: list[Offer] = field(default_factory=list)

    def offer(self, to: Resident, *, fee_sat: int = 282) -> Offer:
        """Post a payment to the link that the receive tab shows."""
        uri = parse(to.tab.URI)
        assert isinstance(uri.endpoint, PjEndpoint)
        assert uri.amount_sat is not None
        tx = pay(self.wallet, uri.address, uri.amount_sat, fee_sat=fee_sat)
        created = CreatedSender(
            endpoint=encode_endpoint(uri.endpoint),
            original=original_psbt(tx),
            query="v=2",
            reply_key=SecretKey.generate(),
            payee_script=to.sessions.receiver_wallet.script_of(uri.address),
        )
        offer = Offer(self, created, tx)
        run(offer.post())
        self.offers.append(offer)
        return offer


@dataclass
class Offer:
    """A payment that was offered to a receiver."""

    sender: Sender
    created: CreatedSender
    tx: PartialTransaction

    async def post(self) -> None:
        state = sending.PostingOriginal(self.created)
        call = state.offer()
        read_post(call, await self._carry(call))

    def answer(self) -> Psbt:
        """Return the proposal, checked, once it is there."""
        posted = sending.apply(sending.PostingOriginal(self.created), PostedOriginal())
        assert isinstance(posted, sending.PollingForProposal)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            call = posted.poll()
            content = read_poll(call, run(self._carry(call)))
            if content is not None:
                closed = posted.received(content)
                assert isinstance(closed, Closed)
                assert isinstance(closed.outcome, ProposalReceived), closed
                return closed.outcome.proposal
        raise AssertionError("no answer came")

    def complete(self, to: Resident, *, confirmed: bool = False) -> Transaction:
        """Sign the payjoin, and let the receiver's wallet see it."""
        tx = PartialTransaction.from_raw_psbt(self.answer())
        self.sender.wallet.sign_transaction(tx, None, ignore_warnings=True)
        tx.finalize_psbt()
        assert tx.is_complete()
        final = Transaction(tx.serialize())
        (see_confirmed if confirmed else see_in_mempool)(to.wallet, final)
        self.sender.house.chain.add(final)
        return final

    def pay_plainly(self, to: Resident) -> Transaction:
        """Broadcast the original, and let the receiver's wallet see it."""
        final = Transaction(self.tx.serialize_to_network())
        see_in_mempool(to.wallet, final)
        return final

    async def _carry(self, call: Any) -> bytes:
        house = self.sender.house
        transport = house.plugin.services.new_transport()
        try:
            return await transport.post(house.mailroom.relay_url, house.mailroom.directory_url, call.body)
        finally:
            await transport.close()
