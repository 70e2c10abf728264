"""Labels that never move what stands around them, and one whose help the keyboard reaches.

The height of a label that wraps depends on its width, and Electrum's receive tab grows with each change of such a one.
"""

from __future__ import annotations

from html import escape

from electrum.gui.qt.util import HelpLabel
from PyQt6.QtCore import QSize, Qt
from PyQt6.QtGui import QFocusEvent, QKeyEvent, QResizeEvent
from PyQt6.QtWidgets import QLabel, QSizePolicy

NO_TURNS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])
"""Unicode's marks that embed, override and isolate a direction of writing, to be left out."""

UNWRAPPED = 150
"""Characters in a tooltip that need no wrapping."""


def plain_tooltip(text: str) -> str:
    """Return what a tooltip shows as `text`. It takes what looks like HTML for HTML, and wraps nothing else."""
    if "<" not in text and len(text) <= UNWRAPPED:
        return text
    return "<qt>" + escape(text).replace("\n", "<br>") + "</qt>"


def one_line(text: str, most: int) -> str:
    """Return a text of any length and number of lines as one line of at most that many characters.

    Without what would turn the direction of what stands beside it, such as an amount.
    """
    line = " ".join(text.translate(NO_TURNS).split())
    return line if len(line) <= most else line[: most - 1] + "…"


class StillLabel(QLabel):
    """Wraps inside the place that it is given."""

    def __init__(self) -> None:
        super().__init__("")
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)

    def hasHeightForWidth(self) -> bool:  # noqa: N802  # Qt's
        return False

    def sizeHint(self) -> QSize:  # noqa: N802  # Qt's
        return QSize(0, self.fontMetrics().lineSpacing())

    def minimumSizeHint(self) -> QSize:  # noqa: N802  # Qt's
        return self.sizeHint()


class LineLabel(QLabel):
    """One line; what does not fit is cut off with an ellipsis, and stands in the tooltip."""

    def __init__(self) -> None:
        super().__init__("")
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.words = ""

    def say(self, words: str) -> None:
        """Show `words`."""
        self.words = words
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802  # Qt's
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        fitting = self.fontMetrics().elidedText(self.words, Qt.TextElideMode.ElideRight, self.width())
        self.setText(fitting)
        self.setToolTip(plain_tooltip(self.words) if fitting != self.words else "")


class KeyHelpLabel(HelpLabel):
    """Electrum's label that shows its help when it is clicked; here by Tab and Space or Enter, too."""

    def __init__(self, words: str, help_text: str) -> None:
        super().__init__(words, help_text)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802  # Qt's
        if event.key() in (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.show_help()
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:  # noqa: N802  # Qt's
        self._underline(is_on=True)
        super().focusInEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:  # noqa: N802  # Qt's
        self._underline(is_on=False)
        super().focusOutEvent(event)

    def _underline(self, *, is_on: bool) -> None:
        self.font.setUnderline(is_on)  # Electrum's label keeps a font under this name
        self.setFont(self.font)
