"""Our test mailroom answers as the real one: the same requests to both, answer by answer.

The real one is payjoin-mailroom in two processes, one used as directory and one as relay. Both directories have the
same OHTTP key (a vector's), so that even their key configurations must be equal. What may differ: DIFFERENCES.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from payjoin_plugin.wire.keys import SecretKey
from payjoin_plugin.wire.ohttp import KeyConfig
from tests.mailroom.cases import CASES, WITHOUT_V1
from tests.mailroom.client import asynchronous
from tests.mailroom.places import ours, strangers
from tests.mailroom.play import Observed, Place, play
from tests.stand.mailroom import RealMailroom
from tests.stand.missing import MissingPart

SECONDS = 2
"""How long both hold a poll; the real one counts in whole seconds."""
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ohttp_vectors.json").read_text())
GATEWAY_IKM = bytes.fromhex(VECTORS["gateway_ikm_hex"])
GATEWAY_SECRET = SecretKey(bytes.fromhex(VECTORS["gateway_sk_hex"]))

DIFFERENCES = {
    # (case, number of the request in it): (fields that differ, why they may)
    ("undecodable BHTTP", 4): (
        {"status"},
        "a BHTTP response where a request belongs: 400 here, 500 there. Nobody sends one, and neither answers it.",
    ),
    ("BHTTP of indeterminate length", 0): (
        {"status", "length", "body", "opened"},
        "wire/bhttp.py reads only the form that BIP 77's peers write, of known length; so does our directory.",
    ),
    ("BHTTP whose trailers are none", 0): (
        {"status", "length", "body", "opened"},
        "wire/bhttp.py skips trailers unread, since nobody looks at them; the real one looks whether they are some.",
    ),
    ("a page for people", 0): ({"length", "body"}, "a page that explains payjoin to people; ours are tests."),
    **{
        ("relay GET absolute-form http://dir/.well-known/ohttp-gateway", number): (
            {"body"},
            "a relay's own key, drawn at its first start. That it is not the directory's is checked by the case.",
        )
        for number in range(2)
    },
}


@pytest.fixture(scope="module")
def with_v1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealMailroom]:
    yield from _real(tmp_path_factory.mktemp("with-v1"), v1=True)


@pytest.fixture(scope="module")
def without_v1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealMailroom]:
    yield from _real(tmp_path_factory.mktemp("without-v1"), v1=False)


def _real(folder: Path, *, v1: bool) -> Iterator[RealMailroom]:
    key = folder / "directory" / "ohttp-keys" / "1.ikm"
    key.parent.mkdir(parents=True)
    key.write_bytes(GATEWAY_IKM)
    try:
        mailroom = RealMailroom(folder, v1=v1, timeout=SECONDS)
    except MissingPart as missing:
        pytest.skip(str(missing))
    yield mailroom
    mailroom.stop()


@pytest.mark.parametrize("name", CASES)
def test_both_answer_alike(name: str, with_v1: RealMailroom) -> None:
    _compare(name, with_v1, v1=True)


@pytest.mark.parametrize("name", WITHOUT_V1)
def test_both_answer_alike_without_v1(name: str, without_v1: RealMailroom) -> None:
    _compare(name, without_v1, v1=False)


def test_every_difference_belongs_to_a_case() -> None:
    assert {name for name, _ in DIFFERENCES} <= CASES.keys() | WITHOUT_V1.keys()


@asynchronous
async def _compare(name: str, real: RealMailroom, *, v1: bool) -> None:
    async with ours(v1=v1, seconds=SECONDS, secret=GATEWAY_SECRET) as here, strangers() as (stranger, nobody):
        there = Place(
            directory=real.directory_url,
            relay=real.relay_url,
            keys=KeyConfig.from_bytes(real.keys()),
            seconds=SECONDS,
            stranger=stranger,
            nobody=nobody,
        )
        # At the same time, since they wait a lot.
        our_room, real_room = await asyncio.gather(play(name, here, v1=v1), play(name, there, v1=v1))
    assert our_room.observed
    for number, (our, their) in enumerate(zip(our_room.observed, real_room.observed, strict=True)):
        allowed, _ = DIFFERENCES.get((name, number), (set(), ""))
        # A difference that is gone must go from the list too.
        assert _differing(our, their) == allowed, f"request {number}:\n  ours   {our}\n  theirs {their}"


def _differing(one: Observed | None, other: Observed | None) -> set[str]:
    """The names of the fields that differ. None: the client hung up."""
    if one is None or other is None:
        return set() if one is other else {"answered"}
    return {field.name for field in fields(Observed) if getattr(one, field.name) != getattr(other, field.name)}
