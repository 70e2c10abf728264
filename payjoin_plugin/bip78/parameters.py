"""The sender's parameters as a query string, and the receiver's errors as JSON.

BIP 78, *Optional parameters* and *Receiver's well known errors*. The same string ends message A of BIP 77, after the
PSBT and one newline.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from urllib.parse import unquote_plus

from ..errors import FAULT_CODES, ErrorCode, ErrorReplyReceived, Fault, OriginalRefused

MAX_FEE_RATE = 25_000 * 250
"""sat/kwu. Above 25,000 sat/vB the reference calls a `minfeerate` absurd, and so do we."""

ERROR_TEXTS: Mapping[ErrorCode, str] = {
    ErrorCode.UNAVAILABLE: "The payjoin endpoint is not available for now.",
    ErrorCode.NOT_ENOUGH_MONEY: "The receiver added some inputs but could not bump the fee of the payjoin proposal.",
    ErrorCode.VERSION_UNSUPPORTED: "This version of payjoin is not supported.",
    ErrorCode.ORIGINAL_PSBT_REJECTED: "The receiver rejected the original PSBT.",
}
"""BIP 78's own words. Nothing about our wallet is ever added to them."""

_UNSIGNED = re.compile(r"[0-9]{1,20}")
_DECIMAL = re.compile(r"(?:[0-9]{1,20}\.?[0-9]{0,20}|\.[0-9]{1,20})(?:[eE][-+]?[0-9]{1,2})?")
_SAT_PER_KWU = 250  # 1 sat/vB


@dataclass(frozen=True)
class AdditionalFee:
    """What the sender offers for the receiver's inputs."""

    max_sat: int
    """`maxadditionalfeecontribution`."""
    output_index: int
    """`additionalfeeoutputindex`: the output of the original that it comes from. May not exist."""


@dataclass(frozen=True)
class Parameters:
    """What the sender asks of the receiver."""

    version: int = 1
    output_substitution: bool = True
    additional_fee: AdditionalFee | None = None
    min_fee_rate: int = 0
    """`minfeerate` in sat/kwu: the proposal's, not only the added part's. BIP 78 has no default."""

    def without_fee_from(self, vouts: Collection[int]) -> Parameters:
        """Return the same without an offer that comes out of one of these outputs: our own money is no offer."""
        if self.additional_fee is None or self.additional_fee.output_index not in vouts:
            return self
        return replace(self, additional_fee=None)


def from_query(query: str) -> Parameters:
    """Read the parameters. What is unknown is ignored, the last of two wins, as in the reference.

    A v1 sender's parameters pass the directory in plain text, so a missing `disableoutputsubstitution` proves nothing:
    substitution counts as forbidden. Raises OriginalRefused for an unknown version or a senseless `minfeerate`.
    """
    values = dict(_pairs(query))
    version = values.get("v", "1")
    if version not in ("1", "2"):
        raise OriginalRefused(Fault.VERSION, "unknown version")
    return Parameters(
        version=int(version),
        output_substitution=version != "1" and values.get("disableoutputsubstitution") != "true",
        additional_fee=_additional_fee(values),
        min_fee_rate=_min_fee_rate(values.get("minfeerate", "0")),
    )


def to_query(parameters: Parameters) -> str:
    """Write the parameters in the reference's order."""
    pairs = [f"v={parameters.version}"]
    if not parameters.output_substitution:
        pairs.append("disableoutputsubstitution=true")
    if (fee := parameters.additional_fee) is not None:
        pairs.append(f"additionalfeeoutputindex={fee.output_index}")
        pairs.append(f"maxadditionalfeecontribution={fee.max_sat}")
    if parameters.min_fee_rate:
        pairs.append(f"minfeerate={Decimal(parameters.min_fee_rate) / _SAT_PER_KWU}")
    return "&".join(pairs)


def error_json(fault: Fault, *, supported: tuple[int, ...] = (1, 2)) -> bytes:
    """Return what the sender is told about `fault`."""
    code = FAULT_CODES[fault]
    reply: dict[str, object] = {"errorCode": code.value, "message": ERROR_TEXTS[code]}
    if code is ErrorCode.VERSION_UNSUPPORTED:
        reply["supported"] = list(supported)
    return json.dumps(reply).encode()


def parse_error(answer: bytes) -> ErrorReplyReceived | None:
    """Return the receiver's error where `answer`, zero-padded or not, is one; None where it is something else.

    Some directories answer in doubled braces, which is no JSON; it is taken all the same.
    """
    text = answer.partition(b"\x00")[0].strip()
    if text.startswith(b"{{") and text.endswith(b"}}"):
        text = text[1:-1]
    try:
        reply = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(reply, dict) or not isinstance(code := reply.get("errorCode"), str):
        return None
    return ErrorReplyReceived(code.strip())


def _pairs(query: str) -> list[tuple[str, str]]:
    """Split a query. A word without `=` is no parameter."""
    parts = [part.partition("=") for part in query.rstrip("\x00").split("&")]
    return [(unquote_plus(key), unquote_plus(value)) for key, equals, value in parts if equals]


def _additional_fee(values: Mapping[str, str]) -> AdditionalFee | None:
    """Return the offer if it is complete; a broken one counts as none (BIP 78 lets us ignore it)."""
    max_sat = values.get("maxadditionalfeecontribution", "")
    output_index = values.get("additionalfeeoutputindex", "")
    if not _UNSIGNED.fullmatch(max_sat) or not _UNSIGNED.fullmatch(output_index):
        return None
    return AdditionalFee(max_sat=int(max_sat), output_index=int(output_index))


def _min_fee_rate(text: str) -> int:
    """Return sat/kwu, rounded up, of a decimal number in sat/vB."""
    if not _DECIMAL.fullmatch(text):
        raise OriginalRefused(Fault.FEE_TOO_SMALL, "minfeerate is no number")
    rate = math.ceil(Decimal(text) * _SAT_PER_KWU)
    if rate > MAX_FEE_RATE:
        raise OriginalRefused(Fault.FEE_TOO_SMALL, "minfeerate is absurd")
    return rate
