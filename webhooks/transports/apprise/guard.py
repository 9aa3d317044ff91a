"""Restricts a process that sends with Apprise: allowed services, network addresses, files and child processes.

It uses an audit hook of Python, which no library can bypass. A hook cannot be removed: install it only in a
process that sends one message and exits.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from core.http import Policy, RefusedError

# Services that only use the network. Left out: those that act on this machine (desktop notifications, syslog,
# USB), read key files named in the URL (fcm, vapid), or need libraries that are not installed.
NAMES = """
    46elks apprise apprises aprs atalk azure bark barks betterstack bluesky brevo bsky bulksms bulkvs burstsms
    chanify clickatell clicksend cliq cm d7sms dapnet deltachat deltachats dingtalk discord dot eight00com elks
    emby embys enigma2 enigma2s evolution evolutions exotel feishu firehydrant flock flowtriq flowtriqs fluxer
    fluxers form forms freemobile gchat github goalert goalerts gorush gorushs gotify gotifys groundmail groupme
    guilded gupshup hassio hassios httpsms humhub humhubs ifttt ilert incidentio infobip irc ircs jellyfin
    jellyfins jira join json jsons kakao kakaotalk kaleyra kavenegar klr kodi kodis kook kudosity kumulos lametric
    lametrics lark lauther lfg line mailersend mailgun mailto mailtos mastodon mastodons matrix matrixs misskey
    misskeys mmost mmosts mobilemessage mobilemsg msg91 msgbird ncloud nclouds nctalk nctalks nexmo nostr notica
    noticas notifiarr notifico notificos notifyre ntfy ntfys o365 octopush onebot onebots onesignal opsgenie
    pagerduty pagertree parsep parseps pbul pinglet pinglets pingram pjet pjets plivo postmark pover prowl psafer
    psafers push pushdeer pushdeers pushed pushme pushplus pushward pushy qq reddit resend revolt ringc rocket
    rockets ryver schan sendgrid sendpulse serwersms ses session sessions seven sfr signal signalgrid signals
    signl4 simplepush sinch slack smsc smseagle smseagles smsmanager smsmgr smstunnel smtp2go sns sogs sparkpost
    spike splunk spugpush spush squadcast stackfield strmlabs synology synologys telesign telnyx tgram threema
    toot toots trigv trigvs tweet twilio twist twitter viber victorops voipms vonage webex wechat wecom wecombot
    whapi whatsapp workflow workflows wpush wxpusher wxteams x xbmc xbmcs xmatters xml xmls youlmk zalo zcliq
    zohocliq zoom zulip
"""
SCHEMAS = frozenset(NAMES.split())
READABLE_FILES = (
    "/etc/hosts",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/ssl",
    "/usr/share/zoneinfo",
    "/dev/urandom",
    os.devnull,
)
WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
START_EVENTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty")


class Guard:
    """`refusals`: errors of refused actions. `peer`: the address of the last connection."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.refusals: list[str] = []
        self.peer = ""
        self._readable = tuple(map(str, _code_folders())) + READABLE_FILES
        self._rules: dict[str, Callable[[tuple[Any, ...]], None]] = {
            "socket.connect": lambda args: self._connect(args[1]),
            "socket.sendto": lambda args: self._connect(args[1]),
            "socket.sendmsg": lambda args: self._connect(args[1]) if args[1] is not None else None,
            "open": lambda args: self._open(args[0], args[2]),
            **dict.fromkeys(START_EVENTS, self._start),
        }

    def install(self) -> None:
        sys.addaudithook(self._hook)
        self._guard_name_resolution()

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if rule := self._rules.get(event):
            rule(args)

    def _guard_name_resolution(self) -> None:
        # As in `core.http`: one forbidden address makes the whole name forbidden.
        resolve = socket.getaddrinfo

        def guarded(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            found = resolve(host, port, *args, **kwargs)
            for address in found:
                self._check(str(address[4][0]), int(address[4][1]))
            return found

        socket.getaddrinfo = guarded

    def _connect(self, address: Any) -> None:
        # Unix sockets have a path as address.
        if not isinstance(address, tuple) or len(address) < 2:
            self._refuse("Only connections to network addresses are allowed.")
        self._check(str(address[0]), int(address[1]))
        self.peer = str(address[0])

    def _check(self, host: str, port: int) -> None:
        try:
            self.policy.check(host, port)
        except RefusedError as error:
            self._refuse(str(error))

    def _open(self, path: Any, flags: int) -> None:
        if isinstance(path, int):
            return
        # URLs of services can name files (templates, keys): only files of Python and its libraries may be read.
        whole = os.path.realpath(os.fsdecode(path))
        if flags & WRITE_FLAGS or not any(
            whole == known or whole.startswith(known + os.sep) for known in self._readable
        ):
            self._refuse("Files of this machine must not be used.")

    def _start(self, args: tuple[Any, ...]) -> None:
        self._refuse("Other programs must not be started.")

    def _refuse(self, text: str) -> None:
        self.refusals.append(text)
        raise PermissionError(text)


def _code_folders() -> Iterable[Path]:
    # Not the project's root: it may contain the data directory.
    ours = Path(__file__).resolve().parents[3]
    return (Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve(), ours / "core", ours / "webhooks")
