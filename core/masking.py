"""Masks secrets in log lines, events, messages, audit rows and error messages.

Masks values by their name (`password`, `token`, …) and by their shape. Secrets known by value are masked with
`core.secret_mask` and `core.secrets.mask`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

MASK = "••••••"
SECRET_NAMES = re.compile(
    r"(password|passwd|passphrase|\bpass|secrets?|tokens?|authorization|cookies?|credentials?|"
    r"(private|secret|api|session)[_-]?keys?|sessionid)$",
    re.IGNORECASE,
)
Replace = str | Callable[[re.Match[str]], str]


class Rule(NamedTuple):
    """One of `needed` (lower case) must occur: the substring test costs a tenth of the pattern.

    Patterns take linear time on any text: repetitions are bounded or cannot match the same text in two ways.
    """

    needed: tuple[str, ...]
    pattern: re.Pattern[str]
    replacement: Replace


# Tokens that services give a prefix, so that they can be found; (prefixes, what follows).
TOKENS = (
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"[A-Za-z0-9]{16,255}"),  # GitHub
    (("github_pat_",), r"\w{16,255}"),
    (("glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glsoat-", "glft-"), r"[\w.-]{16,255}"),  # GitLab
    (("xoxa-", "xoxb-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xapp-"), r"[\w-]{8,255}"),  # Slack
    (("AKIA", "ASIA", "ABIA", "ACCA"), r"[A-Z0-9]{16}(?![A-Za-z0-9])"),  # AWS
    (("AIza",), r"[\w-]{35}"),  # Google
    (("ya29.", "GOCSPX-"), r"[\w.-]{16,512}"),
    (("sk_live_", "sk_test_", "rk_live_", "rk_test_"), r"[A-Za-z0-9]{10,255}"),  # Stripe
    (("sk-",), r"[\w-]{20,255}"),  # OpenAI, Anthropic and others
    (("SG.",), r"[\w-]{16,64}\.[\w-]{16,64}"),  # SendGrid
    (("npm_", "hf_", "lin_api_", "glsa_", "glc_", "dop_v1_", "doo_v1_", "dor_v1_"), r"[A-Za-z0-9_=+/]{30,255}"),
    (("pypi-", "dckr_pat_", "NRAK-", "hvs.", "hvb.", "hvr."), r"[\w-]{16,512}"),
    (("shpat_", "shpca_", "shppa_", "shpss_"), r"[A-Fa-f0-9]{32}"),  # Shopify
    (("dapi",), r"[a-f0-9]{32}"),  # Databricks
    (("AGE-SECRET-KEY-1",), r"[A-Z0-9]{32,64}"),
    (("eyJ",), r"[\w-]{8,4096}\.[\w-]{4,8192}(?:\.[\w-]{0,4096}){0,3}"),  # JWT
)
NAMES = (
    r"(?:passw(?:or)?d|passphrase|passcode|jwt|\b(?:pin|otp)(?==)|[_-]pass|(?-i:\bpass)|\bpass(?==)|[_-]pwd|"
    r"(?-i:\bpwd)(?![ \t]*[:=][ \t]*/)|secrets?|token|tokens(?![\"']?[ \t]*[:=][ \t]*\d{1,9}\b)|credentials?|"
    r"authorization|[_-]auth|"
    r"(?:private|secret|api|access|session|auth|account|encryption|signing|master)[ _-]?keys?|"
    r"cookies?|session[_-]?id|connection[_-]?string|dsn)"
    r"(?:[_-]?(?:\d{1,3}|prod|production|dev|test|staging|live|old|new|value|base64|b64|string|hash))?"
)
QUOTED = r"\\\"(?:(?!\\\").){0,4096}\\\"|\\'(?:(?!\\').){0,4096}\\'|\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
NO_VALUE = r"(?!(?:null|none|nil|true|false|undefined)\b|[{\[(<])"
PLAIN = NO_VALUE + r"[\"']?[^\s&\"']+"
SCHEME = r"(?:(?:bearer|basic|token|digest|apikey|bot)[ \t]{1,4})?"
NAME_WORDS = (
    "pass",
    "pwd",
    "secret",
    "token",
    "credential",
    "auth",
    "key",
    "cookie",
    "session",
    "string",
    "dsn",
    "jwt",
    "pin=",
    "otp=",
)
NAME_END = re.compile(rf"{NAMES}\Z", re.IGNORECASE)


def _keep_head(found: re.Match[str]) -> str:
    """Keeps the group `head` and the quotes around the value."""
    value = found["value"]
    quote = re.match(r"\\?[\"']", value)
    opening = quote[0] if quote else ""
    closing = opening if opening and len(value) > len(opening) and value.endswith(opening) else ""
    return f"{found['head']}{opening}{MASK}{closing}"


def _if_named(found: re.Match[str]) -> str:
    return _keep_head(found) if NAME_END.search(found["name"]) else found[0]


def _valued(needed: tuple[str, ...], head: str, value: str) -> Rule:
    return Rule(needed, re.compile(rf"(?P<head>{head})(?P<value>{value})", re.IGNORECASE), _keep_head)


def _token(prefixes: tuple[str, ...], rest: str) -> Rule:
    starts = "|".join(map(re.escape, prefixes))
    pattern = re.compile(rf"(?<![A-Za-z0-9])({starts}){rest}")
    return Rule(tuple(prefix.lower() for prefix in prefixes), pattern, rf"\1{MASK}")


KEY_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,64})-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
RULES: tuple[Rule, ...] = (
    Rule(("-----begin ",), KEY_BLOCK, rf"-----BEGIN \1-----{MASK}-----END \1-----"),
    Rule(("pm_",), re.compile(r"\b(pm_[0-9a-z]{8})_[A-Za-z0-9_-]{43}"), rf"\1_{MASK}"),
    Rule(("whsec_",), re.compile(r"\bwhsec_[A-Za-z0-9+/=_-]{16,}"), f"whsec_{MASK}"),
    Rule(
        ("bearer", "basic"),
        re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9+/=._~-]{8,}", re.IGNORECASE),
        rf"\1 {MASK}",
    ),
    # user:password@ in a URL, where the password may contain "@", and a token alone in front of the host
    Rule(("://",), re.compile(r"(?<=://)([^\s:/@]*):[^\s/\"'<>]+@"), rf"\1:{MASK}@"),
    Rule(("://",), re.compile(r"(?<=://)[\w.-]{16,512}@"), f"{MASK}@"),
    Rule(
        ("@",),
        re.compile(r"(?<![\w.+/-])(?!mailto:)([\w.+-]{1,64}):(?!//)[^\s:@/\"'<>]{1,128}@(?!sha256:)"),
        rf"\1:{MASK}@",
    ),
    # Secrets in the path of webhook URLs
    Rule(
        ("hooks.slack.com/", "/api/webhooks/"),
        re.compile(r"(hooks\.slack\.com/\w{1,20}/|/api/webhooks/\d{1,24}/)[\w/-]{8,255}"),
        rf"\1{MASK}",
    ),
    Rule((":aa",), re.compile(r"(?<!\d)(\d{8,10}):AA[\w-]{33}(?![\w-])"), rf"\1:{MASK}"),  # Telegram
    # Header: everything to the end of the line
    _valued(("cookie",), r"\bcookie:[ \t]*", r"[^\"'\r\n]+"),
    # NAME=value, name: value, "name": "value", 'name' => 'value', \"name\": \"value\"
    _valued(
        NAME_WORDS,
        NAMES + r"\\?[\"']?[ \t]{0,4}(?:=>|:=|==|[:=]|%3[AD])[ \t]{0,4}(?:&quot;|&#x27;|&#3[49];)?" + SCHEME,
        rf"{QUOTED}|{PLAIN}",
    ),
    # --password value; --api-key=value is in the rule above
    Rule(
        NAME_WORDS,
        re.compile(
            rf"(?P<head>(?<![\w-])--?(?P<name>[A-Za-z][\w-]{{0,60}})[ \t]{{1,4}})(?!-)(?P<value>{QUOTED}|{PLAIN})",
            re.I,
        ),
        _if_named,
    ),
    _valued((" -u ", " --user "), r"(?<=\s)(?:-u|--user)[ \t]{1,4}[\"']?[^\s:\"']{1,128}:", r"[^\s\"'/]+"),
    _valued(("mysql", "mariadb"), r"\b(?:mysql|mariadb)[^\n]{0,200}?\s-p", r"(?![= ])[^\s\"']+"),
    _valued((" -p ",), r"\blogin\b[^\n]{0,200}?\s-p[ \t]{1,4}[\"']?", r"[^\s\"']+"),
    _valued(("sshpass",), r"\bsshpass\s{1,4}-p\s{0,4}[\"']?", r"[^\s\"']+"),
    Rule(
        ("</",),
        re.compile(r"(?P<head><(?P<name>[\w:-]{1,60})>)(?P<value>[^<\s][^<\n]*)(?=</)"),
        _if_named,
    ),
    # Parameters of a URL whose names are too short for the rule of names
    _valued(
        ("key=", "sig=", "signature=", "code=", "auth="),
        r"[?&](?:[\w-]{0,40}[_-])?(?:key|sig|signature|code|auth)=",
        r"[^\s&\"'#]{6,}",
    ),
)
TOKEN_RULES = tuple(_token(prefixes, rest) for prefixes, rest in TOKENS)
ALL_RULES = (*TOKEN_RULES, *RULES)
# Every token contains such a word, and most lines do not: one search instead of fifty.
LONG_WORD = re.compile(r"[\w.-]{13}")
BEGIN, END = re.compile(r"-----BEGIN [A-Z0-9 ]{1,64}-----"), re.compile(r"-----END [A-Z0-9 ]{1,64}-----")
# A full line of a key block, in a text that shows neither its beginning nor its end. No checksum in hexadecimal.
KEY_LINE = re.compile(
    r"\s*(?=\S*[G-Zg-z+/])(?=\S*\d)(?=\S*[A-Z])(?:[A-Za-z0-9+/]{64}|[A-Za-z0-9+/]{70}|[A-Za-z0-9+/]{76})\s*"
)
KEY_PART = re.compile(r"\s*[A-Za-z0-9+/]{1,76}={0,2}\s*")
# All but line feed and tab: control characters can rewrite a terminal or forge a second line.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def mask_text(text: str) -> str:
    """Masks tokens, passwords in URLs and options, values of telling names, and key blocks."""
    lowered = text.lower()
    for needed, pattern, replacement in ALL_RULES if LONG_WORD.search(text) else RULES:
        for part in needed:  # a loop: any() with a generator takes twice as long, and this runs for every log line
            if part in lowered:
                text = pattern.sub(replacement, text)
                break
    return text


def mask_lines(lines: Sequence[str]) -> list[str]:
    """`mask_text` for successive lines of one text, which may begin or end in a key block."""
    inner = _key_block_lines(lines)
    return [MASK if number in inner else mask_text(line) for number, line in enumerate(lines)]


def _key_block_lines(lines: Sequence[str]) -> set[int]:
    inner = {number for number, line in enumerate(lines) if len(line) >= 64 and KEY_LINE.fullmatch(line)}
    is_inside = False
    for number, line in enumerate(lines):
        begins, ends = BEGIN.search(line), END.search(line)
        if ends and not begins and not is_inside:
            inner |= _key_parts_before(lines, number)  # the beginning was cut off
        if begins or ends:
            is_inside = not ends
        elif is_inside:
            inner.add(number)
    return inner


def _key_parts_before(lines: Sequence[str], number: int) -> set[int]:
    found: set[int] = set()
    for before in range(number - 1, -1, -1):
        if not KEY_PART.fullmatch(lines[before]):
            break
        found.add(before)
    return found


def printable(text: str) -> str:
    """One line, with control characters replaced by U+FFFD."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text).replace("\n", " ")


@lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    return SECRET_NAMES.search(name) is not None


def masked(value: Any, name: str = "") -> Any:
    """`value` as JSON data with secrets masked; other types become text. `name` is the key that holds it."""
    if is_secret_name(name) and not isinstance(value, bool) and value not in (None, "", {"set": True}):
        return MASK
    if isinstance(value, Mapping):
        is_secret = value.get("secret") is True or is_secret_name(str(value.get("name", "")))
        if is_secret and "value" in value:  # an environment entry
            value = {**value, "value": MASK}
        return {str(key): masked(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(inner) for inner in value]
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", mask_text(str(value)))


def has_text(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(has_text, value.values()))
    if isinstance(value, list | tuple):
        return any(map(has_text, value))
    return isinstance(value, str)


def mask_texts(value: Any, mask: Callable[[str], str] = str) -> Any:
    """JSON data with `mask` and then `mask_text` applied to every text; keys and the structure stay.

    Also masks the value of a variable (`{"name", "value"}`) with a name such as PASSWORD. A list of texts counts
    as lines, because a key block can extend over several.
    """
    if isinstance(value, str):
        return mask_text(mask(value))
    if isinstance(value, Mapping):
        return {key: _masked_item(value, key, mask) for key in value}
    if isinstance(value, list | tuple):
        if value and all(isinstance(item, str) for item in value):
            return mask_lines([mask(item) for item in value])
        return [mask_texts(item, mask) for item in value]
    return value


def _masked_item(holder: Mapping[Any, Any], key: Any, mask: Callable[[str], str]) -> Any:
    value = holder[key]
    if key == "value" and value and isinstance(value, str) and is_secret_name(str(holder.get("name", ""))):
        return MASK
    return mask_texts(value, mask)
