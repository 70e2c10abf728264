"""Before the plugin is removed: what that ends is said, and ended on the record where the user wants it.

Electrum asks no plugin before it removes it, and its dialog of plugins is made anew each time. So the one wrap that
must be there before the dialog is stands on the dialog's class, while we live.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from electrum.gui.qt.plugins_dialog import PluginsDialog
from electrum.gui.qt.util import Buttons, WindowModalDialog, WWLabel
from electrum.i18n import _
from PyQt6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from ..app.plugin import AtStake, PayjoinPlugin
from ..faults import own_fault
from .questions import Questions
from .wraps import Wraps

if TYPE_CHECKING:
    from electrum.simple_config import SimpleConfig


class Removal:
    """Stands before *Remove* in Tools, Plugins. Electrum offers *Disable* only for plugins that it came with."""

    def __init__(self, plugin: PayjoinPlugin, questions: Questions) -> None:
        self._plugin, self._questions = plugin, questions
        self._wraps = Wraps()
        self._wraps.around(PluginsDialog, "uninstall_plugin", self._uninstall)

    def close(self) -> None:
        """Take the wrap off."""
        self._wraps.remove()

    def _uninstall(self, original: Callable[[PluginsDialog, str], None], dialog: PluginsDialog, name: str) -> None:
        said, stake = None, self._stake(name)
        while stake != said and (
            stake.sessions or stake.payments or stake.left_out
        ):  # a payment may come under the question
            if not self._questions.run(RemovalDialog(dialog, stake, self._plugin.config)):
                return
            said, stake = stake, self._stake(name)
        # Electrum has a question of its own: nothing is ended before that was answered, too.
        self._plugin.ends_sessions = stake.sessions > 0
        try:
            original(dialog, name)
        finally:
            self._plugin.ends_sessions = False

    def _stake(self, name: str) -> AtStake:
        stake = AtStake(0, 0, 0)
        if name == self._plugin.name:
            with own_fault("the removal"):
                stake = self._plugin.at_stake()
        return stake


class RemovalDialog(WindowModalDialog):
    """The warning, and the way back."""

    def __init__(self, parent: QWidget, stake: AtStake, config: SimpleConfig) -> None:
        super().__init__(parent, _("Remove Payjoin"))
        self.setMinimumWidth(440)
        self.warning = WWLabel("\n\n".join(_warnings(stake, config)))
        keep = QPushButton(_("Keep the plugin"))
        keep.clicked.connect(self.reject)
        keep.setDefault(True)
        remove = QPushButton(_button(stake))
        remove.clicked.connect(self.accept)
        remove.setAutoDefault(False)
        box = QVBoxLayout(self)
        box.addWidget(self.warning)
        box.addStretch(1)
        box.addLayout(Buttons(keep, remove))


def _button(stake: AtStake) -> str:
    if not stake.sessions:
        return _("Remove…")
    return _("End it and remove…") if stake.sessions == 1 else _("End them and remove…")


def _warnings(stake: AtStake, config: SimpleConfig) -> list[str]:
    said = []
    if stake.sessions == 1:
        said.append(
            _(
                "A payjoin is open. Without the plugin its sender gets no answer, and Electrum deletes its record when "
                "the wallet is closed. The address can still be paid without payjoin."
            )
        )
    elif stake.sessions:
        said.append(
            _(
                "{} payjoins are open. Without the plugin their senders get no answer, and Electrum deletes their "
                "records when the wallet is closed. The addresses can still be paid without payjoin."
            ).format(stake.sessions)
        )
    if stake.payments:
        amount = config.format_amount_and_units(stake.payments_sat)
        said.append(
            _(
                "A sender's own payment of {} was not broadcast. It becomes a local transaction in the History tab, "
                "with a label that says so: broadcast it there, or you are not paid."
            ).format(amount)
            if stake.payments == 1
            else _(
                "{} payments of senders, {} in all, were not broadcast. Each becomes a local transaction in the "
                "History tab, with a label that says so: broadcast them there, or you are not paid."
            ).format(stake.payments, amount)
        )
    if stake.left_out:
        amount = config.format_amount_and_units(stake.left_out_sat)
        said.append(
            _(
                "A sender's own payment of {} was not broadcast, and becomes none: something else may pay yet, it "
                "would pay another request too, or it was removed from the history. If you want it, broadcast it "
                "first, from Wallet, Payjoin sessions."
            ).format(amount)
            if stake.left_out == 1
            else _(
                "{} payments of senders, {} in all, were not broadcast, and become none: something else may pay yet, "
                "they would pay other requests too, or they were removed from the history. If you want them, broadcast "
                "them first, from Wallet, Payjoin sessions."
            ).format(stake.left_out, amount)
        )
    return said
