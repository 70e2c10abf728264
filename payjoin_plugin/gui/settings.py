"""The settings dialog. Nothing is changed before *Save*."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from electrum.gui.common_qt.util import QtEventListener, qt_event_listener
from electrum.gui.qt.util import Buttons, CancelButton, OkButton, WindowModalDialog
from electrum.i18n import _
from electrum.util import UserFacingException
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QRadioButton,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ..app.settings import BOUNDS, PREFIX
from .bridge import Bridge
from .labels import KeyHelpLabel
from .services import ServiceList, ServiceLists, refusal

if TYPE_CHECKING:
    from electrum.simple_config import SimpleConfig

    from ..app.services import Services

UNITS = ((86400, "days"), (3600, "hours"), (60, "minutes"))
"""Seconds of each unit in which the life of a session is given, the longest first."""


class Lifetime(QWidget):
    """A length of time: a number and its unit."""

    def __init__(self) -> None:
        super().__init__()
        self.number, self.unit = QSpinBox(), QComboBox()
        for seconds, words in zip((60, 3600, 86400), (_("minutes"), _("hours"), _("days")), strict=True):
            self.unit.addItem(words, seconds)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.number)
        row.addWidget(self.unit)
        self.unit.currentIndexChanged.connect(self._bound)
        self._bound()

    def set_seconds(self, seconds: int) -> None:
        """Show a length of time in the longest unit that gives it without a rest."""
        unit = next((length for length, _words in UNITS if seconds % length == 0), 1)
        if self.unit.findData(unit) < 0:
            self.unit.addItem(_("seconds"), unit)
        self.unit.setCurrentIndex(self.unit.findData(unit))
        self.number.setValue(seconds // unit)

    def seconds(self) -> int:
        """Return what is shown."""
        return int(self.number.value() * self.unit.currentData())

    def _bound(self) -> None:
        unit, (least, most) = self.unit.currentData(), BOUNDS["session_lifetime"]
        self.number.setRange(max(1, least // unit), most // unit)


class FeeRate(QDoubleSpinBox):
    """sat/vB, at least 1. At zero it is automatic: there is nothing between the two."""

    def __init__(self) -> None:
        super().__init__()
        self.setRange(0, BOUNDS["max_receiver_fee_rate"][1])
        self.setSpecialValueText(_("automatic"))
        self.editingFinished.connect(self._raise_to_one)

    def set_rate(self, rate: float | None) -> None:
        """Show a rate with as many digits as it has."""
        self.setDecimals(max(1, len(str(rate or 0).partition(".")[2])))
        self.setValue(rate or 0)

    def rate(self) -> float | None:
        """Return what is shown; None: automatic."""
        return max(1.0, self.value()) if self.value() else None

    def stepBy(self, steps: int) -> None:  # noqa: N802  # Qt's
        super().stepBy(steps)
        self._raise_to_one()

    def _raise_to_one(self) -> None:
        if 0 < self.value() < 1:
            self.setValue(1)


class SettingsDialog(WindowModalDialog, QtEventListener):
    """All settings, with units, bounds and a sentence of help each."""

    def __init__(self, parent: QWidget, config: SimpleConfig, services: Services) -> None:
        super().__init__(parent, _("Payjoin settings"))
        self._config, self._services = config, services
        self._bridge = Bridge(self)
        self._fields: dict[str, tuple[Callable[[], Any], Callable[[Any], None]]] = {}
        """Setting → how its field is read and filled."""
        inner = QWidget()
        self._grid = QGridLayout(inner)
        self._grid.setColumnStretch(2, 1)
        self._add_offers()
        self._add_answers()
        self._add_money()
        self._whole(
            "open_polls",
            _("Requests that wait at the directory at once"),
            None,
            _("Where there are more they take turns, the newest first. Each one costs a connection."),
        )
        self.lists = ServiceLists(self, services, self._bridge)
        row = self._grid.rowCount()
        self._grid.addWidget(self.lists, row, 0, 1, 3)
        self._grid.setRowStretch(row, 1)
        for name, value in (("directories", self.lists.directories), ("ohttp_relays", self.lists.relays)):
            self._fields[name] = (value.urls, value.set_urls)
        for name, (_read, fill) in self._fields.items():
            fill(getattr(services.settings, name))
        self._kept = {name: read() for name, (read, _fill) in self._fields.items()}
        """What each field would show if nobody had touched it."""

        self.trouble = QLabel("")
        self.trouble.setTextFormat(Qt.TextFormat.PlainText)
        self.trouble.setWordWrap(True)
        self.trouble.setVisible(False)
        self.scroll = QScrollArea()
        self.scroll.setWidget(inner)
        self.scroll.setWidgetResizable(True)
        self.scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        for service_list in (self.lists.directories, self.lists.relays):
            # Once there is room for the sentence: it has just been shown.
            service_list.refused.connect(self._show_refusal, Qt.ConnectionType.QueuedConnection)
        box = QVBoxLayout(self)
        box.addWidget(self.scroll, 1)
        box.addWidget(self.trouble)
        self.save_button = OkButton(self, _("Save"))
        box.addLayout(Buttons(CancelButton(self), self.save_button))
        self.resize(760, 680)
        self.finished.connect(self._bridge.close)
        self.finished.connect(self.unregister_callbacks)
        self.register_callbacks()

    def field(self, name: str) -> Any:
        """Return what the field of a setting shows."""
        return self._fields[name][0]()

    def fill(self, name: str, value: Any) -> None:
        """Let the field of a setting show `value`."""
        self._fields[name][1](value)

    def accept(self) -> None:
        """Save what was edited; stay open and say so where something is refused."""
        if (objection := self.lists.objection()) is not None:
            self._refuse(objection)
            return
        try:
            for name, (read, _fill) in self._fields.items():
                value = read()
                if value != self._kept[name]:
                    self._config.cv.from_key(PREFIX + name).set(value)
                    self._kept[name] = value
        except UserFacingException as error:
            self._refuse(refusal(name, error))
            return
        super().accept()

    @qt_event_listener
    def on_event_payjoin_settings_changed(self) -> None:
        """A setting was changed elsewhere: show it, unless its field was edited."""
        for name, (read, fill) in self._fields.items():
            value = getattr(self._services.settings, name)
            if read() == self._kept[name] != value:
                fill(value)
                self._kept[name] = read()

    def _refuse(self, sentence: str) -> None:
        self.trouble.setText(sentence)
        self.trouble.setVisible(True)

    def _show_refusal(self) -> None:
        """Scroll to why an address was refused."""
        service_list = self.sender()
        if isinstance(service_list, ServiceList):
            self.scroll.ensureWidgetVisible(service_list.trouble)

    # The fields

    def _add_offers(self) -> None:
        self._switch(
            "offer_in_window",
            _("Offer payjoin with new requests"),
            _("Each request can still be paid by every wallet. The tick in the Receive tab is this setting."),
        )
        self._switch(
            "offer_in_commands",
            _("Also with requests made by commands"),
            _(
                "Off, for safety: a program that credits what arrives at an address would credit your own coin too. "
                "Turn it on only where programs read payjoin.received_sat."
            ),
        )
        self._whole(
            "minimum_amount",
            _("Only for requests of at least"),
            _("sat"),
            _("Below it, looking at one of your coins would be too cheap for a curious sender."),
        )
        lifetime = Lifetime()
        self._fields["session_lifetime"] = (lifetime.seconds, lifetime.set_seconds)
        self._labelled(
            _("A payjoin may be answered for at most"),
            lifetime,
            None,
            _(
                "Longer gives a slow sender more time; shorter leaves less to be linked at the directory. "
                "A request's own expiry may end it sooner."
            )
            + self._range("session_lifetime", _length),
        )

    def _add_answers(self) -> None:
        by_itself = QRadioButton(_("by itself, while the wallet is unlocked"))
        ask = QRadioButton(_("ask me each time"))
        by_itself.setChecked(True)
        choice = QWidget()
        column = QVBoxLayout(choice)  # in some languages a row would be wider than the dialog
        column.setContentsMargins(20, 0, 0, 0)
        column.addWidget(by_itself)
        column.addWidget(ask)
        self._fields["ask_before_contributing"] = (
            ask.isChecked,
            lambda value: (ask if value else by_itself).setChecked(True),
        )
        self._labelled(
            _("Answer a sender"),
            choice,
            None,
            _("Asking shows coin and cost first, but keeps the sender waiting until you say yes.")
            + " "
            + _("If you change nothing: by itself."),
            wide=True,
        )
        self._switch(
            "broadcast_original_by_itself",
            _("If time runs out or the payjoin fails, broadcast the sender's own payment"),
            _("You are paid all the same, and each look at your coins costs a curious sender a payment."),
        )
        self._switch(
            "accept_v1_senders",
            _("Accept wallets that speak the old protocol"),
            _("More wallets can pay you by payjoin, but the directory can read such a wallet's payment."),
        )

    def _add_money(self) -> None:
        self._whole(
            "max_receiver_fee_sat",
            _("My share of the fee at most"),
            _("sat"),
            _(
                "Your coin makes the transaction larger, and you pay for that. From 5 000 sat on, one per cent of the "
                "payment counts where that is more. Over the limit there is no payjoin, and the payment stays."
            ),
        )
        rate = FeeRate()
        self._fields["max_receiver_fee_rate"] = (rate.rate, rate.set_rate)
        self._labelled(
            _("and at most"),
            rate,
            _("sat/vB"),
            _("Automatic is three times Electrum's own fee estimate, but between 10 and 100 sat/vB.")
            + self._range("max_receiver_fee_rate", lambda value: _("automatic") if value is None else _number(value)),
        )

    def _range(self, name: str, shown: Callable[[Any], str]) -> str:
        """Return the end of a setting's help: bounds and default."""
        least, most = BOUNDS[name]
        said = _("From {} to {}; if you change nothing: {}.")
        return " " + said.format(shown(least), shown(most), shown(self._services.settings.default(name)))

    def _switch(self, name: str, words: str, help_text: str) -> None:
        help_text += " " + (
            _("If you change nothing: on.")
            if self._services.settings.default(name)
            else _("If you change nothing: off.")
        )
        box = QCheckBox(words)
        box.setToolTip(help_text)
        box.setWhatsThis(help_text)  # Shift and F1: a tooltip wants a mouse
        self._fields[name] = (box.isChecked, box.setChecked)
        self._grid.addWidget(box, self._grid.rowCount(), 0, 1, 3)

    def _whole(self, name: str, words: str, unit: str | None, help_text: str) -> None:
        number, bounds = QSpinBox(), BOUNDS[name]
        number.setRange(*bounds)
        number.setGroupSeparatorShown(True)
        number.setSingleStep(min(1000, bounds[1] // 100))
        self._fields[name] = (number.value, number.setValue)
        self._labelled(words, number, unit, help_text + self._range(name, _number))

    def _labelled(self, words: str, field: QWidget, unit: str | None, help_text: str, *, wide: bool = False) -> None:
        row = self._grid.rowCount()
        field.setToolTip(help_text)
        self._grid.addWidget(KeyHelpLabel(words, help_text), row, 0)
        if wide:  # below its words, with all the room there is
            self._grid.addWidget(field, row + 1, 0, 1, 3)
        else:
            self._grid.addWidget(field, row, 1)
        if unit is not None:
            self._grid.addWidget(QLabel(unit), row, 2)


def _number(value: float) -> str:
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _length(seconds: int) -> str:
    """Return a bound or the default of the life of a session, in its longest unit."""
    if seconds % 86400 == 0:
        return _("{} d").format(seconds // 86400)
    return _("{} min").format(seconds // 60)
