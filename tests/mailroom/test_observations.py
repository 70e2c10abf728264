"""Our mailroom answers as payjoin-mailroom 0.1.3 was once observed to answer (directory_observations.json)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from payjoin_plugin.errors import DecodeError
from payjoin_plugin.wire.bhttp import decode_response
from tests.mailroom.cases import CASES, WITHOUT_V1
from tests.mailroom.client import asynchronous
from tests.mailroom.places import ours
from tests.mailroom.play import Observed, play

ROWS = json.loads((Path(__file__).parent / "directory_observations.json").read_text())["cases"]


@pytest.mark.parametrize(("name", "outer", "inner"), [row[:3] for row in ROWS], ids=[row[0] for row in ROWS])
@asynchronous
async def test_an_observed_row_holds_for_our_mailroom(name: str, outer: str, inner: str) -> None:
    v1 = name not in WITHOUT_V1
    # What is pending must still be so on a busy machine; who polls in vain would wait that long.
    async with ours(v1=v1, seconds=3 if "pending" in name else 0.3) as place:
        room = await play(name, place, v1=v1)
    assert room.rows
    for observed in room.rows:
        assert observed.status == int(outer)
        assert observed.anyone_may_read
        if inner:
            assert inner_status(observed) == int(inner)
        elif "8192" not in name and outer != "200":
            assert observed.opened is None


def test_every_observed_row_is_played() -> None:
    assert {row[0] for row in ROWS} <= CASES.keys() | WITHOUT_V1.keys()


def inner_status(observed: Observed) -> int | None:
    """Also of a message that is cut off behind its status, as an original that is too wide comes."""
    if observed.opened is None:
        return None
    try:
        return decode_response(observed.opened).status
    except DecodeError:
        return {b"\x40\xc8": 200}.get(observed.opened[1:3])
