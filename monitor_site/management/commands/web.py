"""`manage.py web`: the admin, the API and the websockets."""

from __future__ import annotations

import gc
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.locks import HeldError, hold
from core.observability import configure
from monitor_site.environment import bind_parts
from monitor_site.serving import address

log = structlog.get_logger(__name__)
# Allocations between two garbage collections. Python's default is 700: several collections in each long response.
GC_THRESHOLD = 20_000


class Command(BaseCommand):
    help = "Serves the admin, the JSON API and the websockets."
    requires_system_checks = []  # they run in `handle`, after --bind is known

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--bind", metavar="HOST:PORT", help=f"address to listen on (default: {settings.BIND})")

    def handle(self, *args: Any, **options: Any) -> None:
        settings.BIND = options["bind"] or settings.BIND
        self.check()
        host, port = bind_parts(settings.BIND)
        try:
            port = address.choose_port(host, port)
            with hold("web"):
                self.serve(host, port)
        except (HeldError, address.AddressError) as error:
            raise CommandError(str(error)) from error

    def serve(self, host: str, port: int) -> None:
        # Both load everything; a port that is taken is reported before that.
        from monitor_site.asgi import application
        from monitor_site.web_server import WebServer

        configure("web")  # after the application, which calls django.setup() and so resets the logs
        gc.collect()
        gc.freeze()  # what is loaded by now stays, so no collection needs to visit it
        gc.set_threshold(GC_THRESHOLD)
        url = address.public_url(host, port, settings.ALLOWED_HOSTS, settings.CSRF_TRUSTED_ORIGINS)
        server = WebServer(application, host, port, on_listening=lambda: log.info("web.listening", url=url))
        server.run()
        if server.failure:
            raise CommandError(f"Cannot listen on {host}:{port}: {server.failure}")
