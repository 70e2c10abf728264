"""When each part of an answer begins and ends, in a real daemon: lines that are put into a copy of the plugin's zip.

The plugin itself has nothing of this. One payment at a time: the marks do not say which session they are of.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

PROBE = """
import json as _json, time as _time
from .app.ledger import Ledger as _Ledger
from .client.transport import HttpTransport as _Transport
from .wallet.receiving import ElectrumReceiverWallet as _Wallet
from .wallet.storage import WalletStore as _Store

_marks = open({path!r}, "a", buffering=1)

def _mark(what):
    _marks.write(_json.dumps([what, _time.perf_counter(), _time.process_time()]) + "\\n")

def _around(owner, name, what):
    inner = getattr(owner, name)
    async def outer(*args, **kwargs):
        _mark(f"{{what}} begins")
        try:
            return await inner(*args, **kwargs)
        finally:
            _mark(f"{{what}} ends")
    setattr(owner, name, outer)

_around(_Transport, "post", "post")
_around(_Wallet, "look_up", "look-up")
_around(_Wallet, "sign", "signing")
_around(_Store, "flush", "flush")

def _recorded(inner):
    def outer(self, session, event, *args, **kwargs):
        result = inner(self, session, event, *args, **kwargs)
        _mark(type(event).__name__)
        return result
    return outer

_Ledger.record = _recorded(_Ledger.record)
"""


class Part(NamedTuple):
    """What one part of an answer took."""

    wall_ms: float
    cpu_ms: float
    """Of the whole process, on all its threads."""


PARTS = (
    ("poll answered → decoded", "post ends", "RetrievedOriginal"),
    ("→ read, and asked about", "RetrievedOriginal", "look-up begins"),
    ("→ answered by the Electrum server", "look-up begins", "look-up ends"),
    ("→ checked", "look-up ends", "AcceptedOriginal"),
    ("→ coin chosen", "AcceptedOriginal", "CommittedContribution"),
    ("→ handed to Electrum", "CommittedContribution", "signing begins"),
    ("→ signed by Electrum", "signing begins", "signing ends"),
    ("→ recorded", "signing ends", "flush begins"),
    ("→ on disk", "flush begins", "flush ends"),
    ("→ sealed", "flush ends", "post begins"),
    ("→ posted", "post begins", "PostedProposal"),
    ("in all", "post ends", "PostedProposal"),
    ("in all, without the post itself", "post ends", "post begins"),
)
"""Name, the mark that begins it and the mark that ends it."""


def with_probe(plugin: Path, marks: Path) -> Path:
    """Return a copy of the plugin's zip, beside it, that writes marks into the file `marks`."""
    target = plugin.with_name("probed.zip")
    with ZipFile(plugin) as source, ZipFile(target, "w") as probed:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("/cmdline.py"):
                content += PROBE.format(path=str(marks)).encode()
            probed.writestr(name, content)
    return target


def parts_of_last(marks: Path) -> dict[str, Part]:
    """Return the parts of the newest answer, by name."""
    times: dict[str, tuple[float, float]] = {}
    lines = [json.loads(line) for line in marks.read_text().splitlines()]
    last = max(number for number, (what, _, _) in enumerate(lines) if what == "RetrievedOriginal")
    before = [line for line in lines[:last] if line[0] == "post ends"][-1]
    times["post ends"] = (before[1], before[2])
    for what, wall, cpu in lines[last:]:
        if what != "post ends":
            times.setdefault(what, (wall, cpu))
    # The wait for the next poll's connection may begin a post as well: ours is the first after the flush.
    flushed = times["flush ends"][0]
    sent = next(line for line in lines[last:] if line[0] == "post begins" and line[1] >= flushed)
    times["post begins"] = (sent[1], sent[2])
    return {
        name: Part((times[end][0] - times[begin][0]) * 1000, (times[end][1] - times[begin][1]) * 1000)
        for name, begin, end in PARTS
    }
