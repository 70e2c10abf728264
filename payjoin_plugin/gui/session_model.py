"""The rows of the sessions window: ten thousand of them are filtered and sorted without a pause.

No session is replayed for its row. Sorting and filtering are Python's own, on the rows: a proxy model of Qt's would
call back into Python for each comparison.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import TYPE_CHECKING, Any

from electrum.address_synchronizer import TX_HEIGHT_LOCAL
from electrum.i18n import _
from electrum.util import format_time
from PyQt6.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt

from ..app.view import head_of, view_of
from ..app.visible import PaidBy, replaced_by
from ..errors import UnreadableLog
from ..session.status import Head, Stage, Status, Waiting, stage_of
from .countdown import time_left
from .labels import one_line, plain_tooltip
from .words import short_status

if TYPE_CHECKING:
    from electrum.simple_config import SimpleConfig

    from ..app.sessions import WalletSessions


NOTHING = "\N{EN DASH}"


class Show(Enum):
    """Which sessions are listed."""

    OPEN = auto()
    PAID = auto()
    NOT_PAID = auto()
    ALL = auto()


GROUPS = {
    Show.OPEN: {Status.ACTIVE, Status.UNREADABLE},
    Show.PAID: {Status.COMPLETED, Status.PAID_WITHOUT_PAYJOIN},
    Show.NOT_PAID: {Status.EXPIRED, Status.FAILED, Status.ABORTED},
    Show.ALL: set(Status),
}


@dataclass(frozen=True)
class Row:
    """One session of the list."""

    session_id: str
    created_at: int
    description: str
    amount_sat: int
    status: Status
    stage: Stage | None
    expires_at: int
    search: str
    """What a search looks at, in lower case."""
    is_dropped: bool = False
    """What had paid it is gone."""
    waits_for_coin: bool = False
    is_declined: bool = False
    """The user wanted the request plain: its session ended as aborted."""

    @property
    def said(self) -> str:
        """The state in a few words."""
        if self.is_dropped:
            return _("Dropped")
        if self.is_declined:
            return _("Without payjoin")
        return _("Needs a coin") if self.waits_for_coin else short_status(self.status, self.stage)

    def belongs_to(self, show: Show) -> bool:
        """Tell whether it is listed in a group."""
        if self.is_dropped:
            return show in (Show.NOT_PAID, Show.ALL)
        return self.status in GROUPS[show]


def row_of(sessions: WalletSessions, session_id: str) -> Row:
    """Return the row of a session, from the ends of its log or from its live state."""
    session = sessions.ledger.open.get(session_id)
    try:
        head = head_of(sessions, session_id)
    except UnreadableLog:
        return _row_without_record(sessions, session_id)
    stage = waiting = None
    if session is not None and head.status is Status.ACTIVE:
        runner = sessions.live.runners.get(session_id)
        waiting = runner.waiting if runner is not None else None
        stage = stage_of(session.state, waiting)
    created = head.created
    status, is_dropped = _truth(sessions, session_id, head)
    request = sessions.wallet.get_request(created.request_id)
    description = request.get_message() if request is not None else ""
    description = description or sessions.wallet.get_label_for_address(created.address) or ""
    amount = sessions.wallet.config.format_amount(created.amount_sat)
    words = (description, amount, format_time(head.created_at), created.address, session_id)
    return Row(
        session_id=session_id,
        created_at=head.created_at,
        description=description,
        amount_sat=created.amount_sat,
        status=status,
        stage=stage,
        expires_at=created.expires_at,
        search=" ".join(words).lower(),
        is_dropped=is_dropped,
        waits_for_coin=waiting is Waiting.NO_COIN,
        is_declined=status is Status.ABORTED and sessions.store.is_declined(created.request_id),
    )


def _row_without_record(sessions: WalletSessions, session_id: str) -> Row:
    """Return what is left to be listed: the sender's payment, where that is kept."""
    view = view_of(sessions, session_id)
    request = sessions.wallet.get_request(view.request_id)
    description = request.get_message() if request is not None else ""
    description = description or (_("Record gone") if view.is_gone else _("Unreadable record"))
    created_at, amount_sat = view.created_at or 0, view.held.payment_sat if view.held is not None else 0
    words = (description, sessions.wallet.config.format_amount(amount_sat), format_time(created_at), session_id)
    return Row(
        session_id, created_at, description, amount_sat, Status.UNREADABLE, None, 0, search=" ".join(words).lower()
    )


def _truth(sessions: WalletSessions, session_id: str, head: Head) -> tuple[Status, bool]:
    """Return the status as the chain has it now, and whether what had paid is gone.

    A log ends with what was known then. Replayed are only those with which the chain does not agree: not paid, and its
    address was, after all; or paid, and nothing is there.
    """
    received, _sent = sessions.wallet.adb.get_addr_io(head.created.address)
    seen_sat = sum(value for height, _, value, _ in received.values() if height > TX_HEIGHT_LOCAL)
    if head.status in GROUPS[Show.PAID]:
        least_sat = head.created.amount_sat // 2  # a bump costs a fee, a cheat leaves dust
        is_gone = seen_sat < least_sat and sessions.receiver_wallet.is_current()
        session = sessions.ledger.if_readable(session_id) if is_gone else None
        if session is not None and (other := replaced_by(sessions.wallet, session)) is not None:
            is_gone = other[1] < least_sat
        return head.status, is_gone
    if head.status in GROUPS[Show.NOT_PAID] and seen_sat:
        match view_of(sessions, session_id).paid_by:
            case PaidBy.PAYJOIN:
                return Status.COMPLETED, False
            case PaidBy.ORIGINAL | PaidBy.OTHER:
                return Status.PAID_WITHOUT_PAYJOIN, False
    return head.status, False


class Column(IntEnum):
    """The columns, in order."""

    DATE = 0
    DESCRIPTION = 1
    AMOUNT = 2
    STATUS = 3
    LEFT = 4


class SessionModel(QAbstractTableModel):
    """The rows that are shown, in the order in which they are shown."""

    def __init__(self, parent: QObject, config: SimpleConfig) -> None:
        super().__init__(parent)
        self._config = config
        self._rows: dict[str, Row] = {}
        self._shown: list[Row] = []
        self._show, self._search = Show.ALL, ""
        self._column, self._order = Column.DATE, Qt.SortOrder.DescendingOrder

    # What is in it

    def put(self, rows: Iterable[Row]) -> bool:
        """Add or replace rows, and say whether anything is different now."""
        changed = {row.session_id: row for row in rows if self._rows.get(row.session_id) != row}
        if changed:
            self._rows |= changed
            self._rearrange()
        return bool(changed)

    def choose(self, show: Show, search: str) -> None:
        """Show only these."""
        self._show, self._search = show, search.strip().lower()
        self._rearrange()

    def count(self, show: Show) -> int:
        """Return how many sessions there are of a group."""
        return sum(row.belongs_to(show) for row in self._rows.values())

    def session_at(self, row: int) -> str | None:
        """Return the session in a shown row."""
        return self._shown[row].session_id if 0 <= row < len(self._shown) else None

    def row_number(self, session_id: str) -> int | None:
        """Return where a session is shown."""
        return next((n for n, row in enumerate(self._shown) if row.session_id == session_id), None)

    def time_passed(self) -> None:
        """Let the view ask for the times left again."""
        if self._shown:
            last = len(self._shown) - 1
            self.dataChanged.emit(self.index(0, Column.LEFT), self.index(last, Column.LEFT))

    def _rearrange(self) -> None:
        self.beginResetModel()
        shown = [row for row in self._rows.values() if row.belongs_to(self._show) and self._search in row.search]
        shown.sort(key=SORT_KEYS[self._column], reverse=self._order is Qt.SortOrder.DescendingOrder)
        self._shown = shown
        self.endResetModel()

    # Qt's questions

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008, N802  # Qt's
        return 0 if parent.isValid() else len(self._shown)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008, N802  # Qt's
        return 0 if parent.isValid() else len(Column)

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._column, self._order = Column(column), order
        self._rearrange()

    def headerData(  # noqa: N802  # Qt's
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation is not Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return (_("Date"), _("Description"), _("Amount"), _("Status"), _("Time left"))[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(section)
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(self._shown[index.row()], Column(index.column()))
        if role == Qt.ItemDataRole.ToolTipRole and index.column() == Column.DESCRIPTION:
            return plain_tooltip(one_line(self._shown[index.row()].description, 500))
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(index.column())
        return None

    def _text(self, row: Row, column: Column) -> str:
        match column:
            case Column.DATE:
                return format_time(row.created_at) if row.created_at else NOTHING
            case Column.DESCRIPTION:
                return one_line(row.description, 200)
            case Column.AMOUNT:
                return self._config.format_amount(row.amount_sat) if row.amount_sat else NOTHING
            case Column.STATUS:
                return row.said
            case Column.LEFT:
                return time_left(row.expires_at - int(time.time())) if row.status is Status.ACTIVE else NOTHING


SORT_KEYS: dict[Column, Callable[[Row], Any]] = {
    Column.DATE: lambda row: (row.created_at, row.session_id),
    Column.DESCRIPTION: lambda row: (row.description.lower(), row.created_at),
    Column.AMOUNT: lambda row: (row.amount_sat, row.created_at),
    Column.STATUS: lambda row: (row.said, row.created_at),
    Column.LEFT: lambda row: (row.status is Status.ACTIVE, row.expires_at, row.created_at),
}


def _alignment(column: int) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if column == Column.AMOUNT else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter
