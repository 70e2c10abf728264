"""One plugin, its open wallets and their sessions, and what people ask of them; it brings the layers below together.

No widgets: what a screen or a command shows comes from here as a value.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  # ours alone: Electrum starts with 3.10
    # The first of our modules that both of Electrum's entries import; Electrum shows the text. What wants it: a
    # directory behind a relay is TLS inside TLS, and asyncio.timeout.
    raise ImportError("Payjoin needs Python 3.11 or newer")
