"""The pictures of README and user guide, cut out of those that tests/gui/screenshots.py took.

python -m tests.gui.pictures build/screenshots docs/pictures
"""

from __future__ import annotations

import sys
from pathlib import Path

from PyQt6.QtCore import QRect
from PyQt6.QtGui import QImage

WHOLE = QRect()
TAB = QRect(0, 20, 1024, 350)
"""Of a window with the receive tab: its fields, the code, and the first request."""

PICTURES = {
    "receive-waiting": TAB,
    "receive-locked": TAB,
    "receive-ask": TAB,
    "receive-paid": TAB,
    "abort-held": WHOLE,
    "answer": WHOLE,
    "sessions": WHOLE,
    "settings": WHOLE,
    "transaction": WHOLE,
    "remove": WHOLE,
}
IN_DARK_TOO = ("receive-waiting", "sessions")
"""Those of the README."""


def main() -> None:
    """Cut them out."""
    taken, target = Path(sys.argv[1]), Path(sys.argv[2])
    target.mkdir(parents=True, exist_ok=True)
    for name, part in PICTURES.items():
        for theme in ("light", "dark") if name in IN_DARK_TOO else ("light",):
            picture = QImage(str(taken / theme / f"{name}.png"))
            assert not picture.isNull(), f"there is no picture {name} in {taken}/{theme}: make screenshots"
            cut = picture.copy(part) if part.isValid() else picture
            opaque = cut.convertToFormat(QImage.Format.Format_RGB888)
            opaque.save(str(target / f"{name}{'-dark' if theme == 'dark' else ''}.png"), quality=0)
    print(f"{sum(file.stat().st_size for file in target.iterdir()):,} bytes in {target}")


if __name__ == "__main__":
    main()
