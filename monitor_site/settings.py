"""Django settings. Those that users can set are read in `environment` and listed in docs/settings.md."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from core.private_files import PrivateConnection

from .environment import (
    BASE_DIR,
    LOOPBACK_HOSTS,
    choice_setting,
    data_dir,
    database_config,
    env,
    float_setting,
    host_name,
    int_setting,
    networks_setting,
    redis_url,
    replica_config,
    secret_key,
)
from .unfold import UNFOLD as UNFOLD

VERSION = "0.1.0"
PRODUCT = "program-monitor"

DATA_DIR: Path = data_dir()
LOG_DIR = DATA_DIR / "logs"
RUN_DIR = DATA_DIR / "run"
SECRET_KEY = secret_key(DATA_DIR)
DEBUG = False
BIND = env.str("BIND", default="127.0.0.1:8000")
HOST_NAME = host_name(DATA_DIR)
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=LOOPBACK_HOSTS)
PUBLIC_URL = env.str("PUBLIC_URL", default="").strip().rstrip("/")
TRUSTED_PROXIES = networks_setting("TRUSTED_PROXIES")
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])
REDIS_URL = redis_url()
WEBHOOK_NETWORK = env.str("WEBHOOK_NETWORK", default="lan")
DEADMAN_URL = env.str("DEADMAN_URL", default="")
DEADMAN_SECONDS = float_setting("DEADMAN_SECONDS", 60.0)

SAMPLE_SECONDS = float_setting("SAMPLE_SECONDS", 2.0)
RECORD_SECONDS = float_setting("RECORD_SECONDS", 10.0)
RAW_HOURS = int_setting("RAW_HOURS", 24)
MINUTE_DAYS = int_setting("MINUTE_DAYS", 14)
HOUR_DAYS = int_setting("HOUR_DAYS", 400)
EVENT_DAYS = int_setting("EVENT_DAYS", 90)

CACHE_METRICS_SECONDS = float_setting("CACHE_METRICS_SECONDS", 600)

# For the agent, jobs and commands, which only need the data: half the memory and start time of the full list.
LEAN_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django_q",
    "core",
    "programs",
    "metrics",
    "plugins",
    "webhooks",
    "monitor_site",
]
FULL_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic",
    "django.contrib.staticfiles",
    "channels",
    "ninja",
]
LEAN = os.environ.get("MONITOR_APPS") == "lean"
INSTALLED_APPS = LEAN_APPS if LEAN else FULL_APPS + LEAN_APPS

MIDDLEWARE = [
    "core.observability.RequestLogMiddleware",
    "metrics.prometheus.RequestTimingMiddleware",
    "monitor_site.middleware.SecurityHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "monitor_site.middleware.StaticFilesMiddleware",
    "monitor_site.middleware.CompressionMiddleware",
    "monitor_site.middleware.ApiResponseMiddleware",
    "monitor_site.middleware.NulCharacterMiddleware",
    "monitor_site.middleware.TooManyRequestsMiddleware",
    "monitor_site.middleware.ApiConditionalGetMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
if LEAN:  # serves no requests, but Django's checks would import all of these
    MIDDLEWARE = []
ROOT_URLCONF = "" if LEAN else "monitor_site.urls"  # the routes need the admin
ASGI_APPLICATION = "monitor_site.asgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# --- Data -----------------------------------------------------------------------------------------------

SQLITE_OPTIONS: dict[str, Any] = {
    "factory": PrivateConnection,
    # Without IMMEDIATE, a transaction that reads before it writes fails at once under contention.
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": (
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-8000;"
        "PRAGMA mmap_size=134217728; PRAGMA temp_store=MEMORY; PRAGMA foreign_keys=ON;"
    ),
}


# Otherwise a connection to a server that vanished hangs until the system's timeout of two hours.
POSTGRESQL_OPTIONS: dict[str, Any] = {
    "connect_timeout": 10,  # seconds, like all but the last
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,  # milliseconds
}
# The other direction: what the server does about a client that is frozen or gone, so that its locks do not last.
POSTGRESQL_SESSION = {
    "idle_in_transaction_session_timeout": "5s",
    "lock_timeout": "10s",
    "client_connection_check_interval": "10s",
    "tcp_keepalives_idle": "10s",
    "tcp_keepalives_interval": "5s",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "25s",
}


def database(config: dict[str, Any]) -> dict[str, Any]:
    if config["ENGINE"] == "django.db.backends.sqlite3":
        config["OPTIONS"] = {**SQLITE_OPTIONS, **config.get("OPTIONS", {})}
    else:
        config.setdefault("CONN_HEALTH_CHECKS", True)
    if config["ENGINE"] == "django.db.backends.postgresql":
        given = config.get("OPTIONS", {})
        session = " ".join(f"-c {name}={value}" for name, value in POSTGRESQL_SESSION.items())
        # Of two values for one setting the server takes the last.
        session = f"{session} {given.get('options', '')}".strip()
        config["OPTIONS"] = {**POSTGRESQL_OPTIONS, **given, "options": session}
    config.setdefault("CONN_MAX_AGE", 60)
    return config


DATABASES = {"default": database(database_config(f"sqlite:///{DATA_DIR / 'monitor.sqlite3'}"))}
SQLITE = DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3"
# Tests use a file too, because the agent and its threads share it.
DATABASES["default"].setdefault("TEST", {})["NAME"] = str(DATA_DIR / "test.sqlite3") if SQLITE else None
# A standby of the database. It answers for history and events: see core.replica.
REPLICA = replica_config()
REPLICA_MAX_LAG_SECONDS = float_setting("REPLICA_MAX_LAG_SECONDS", 30.0)
if REPLICA:
    DATABASES["replica"] = {**database(REPLICA), "TEST": {"MIRROR": "default"}}
    # A page must not wait long for a replica that is gone: the primary can answer.
    DATABASES["replica"]["OPTIONS"] |= {"connect_timeout": 3, "tcp_user_timeout": 5_000, "keepalives_idle": 3}
    DATABASE_ROUTERS = ["core.replica.Router"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "monitor_cache"}
}

# --- Jobs -----------------------------------------------------------------------------------------------

Q_CLUSTER: dict[str, Any] = {
    "name": PRODUCT,
    "orm": "default",
    "broker_class": "monitor_site.jobs.broker.DoorbellBroker",
    "workers": 2 if SQLITE else 4,
    "queue_limit": 2 if SQLITE else 4,
    "bulk": 1,
    "timeout": 60,
    "retry": 240,
    "ack_failures": True,
    "max_attempts": 1,
    "guard_cycle": 0.5,
    "poll": 0.5,
    "catch_up": False,
    "recycle": 200,
    "max_rss": 250_000,
    "save_limit": 200,
    "daemonize_workers": True,
    "scheduler": False,
    "label": "Jobs",
}

# --- Access ---------------------------------------------------------------------------------------------

AUTHENTICATION_BACKENDS = ["core.access.login.ThrottledBackend"]
PASSWORD_HASHERS = [
    "core.access.hashers.QueuedArgon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "django.views.csrf.csrf_failure" if LEAN else "monitor_site.error_pages.csrf_failure"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
# A reverse proxy terminates TLS; an https origin means that there is one.
BEHIND_TLS = any(origin.startswith("https://") for origin in CSRF_TRUSTED_ORIGINS)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS else None
SECURE_HSTS_SECONDS = 31_536_000 if BEHIND_TLS else 0
# W001 to W003 check for three Django middleware classes by name; ours are subclasses.
SILENCED_SYSTEM_CHECKS = (
    [] if BEHIND_TLS else ["security.W004", "security.W008", "security.W010", "security.W012", "security.W016"]
)
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

# --- Language, files, logs ------------------------------------------------------------------------------

LANGUAGES = [("en", "English"), ("ko", "한국어")]
LANGUAGE_CODE = choice_setting("LANGUAGE_CODE", "en", dict(LANGUAGES))
TIME_ZONE = "UTC"
MACHINE_TZ = os.environ.get("TZ")  # Django overwrites TZ with TIME_ZONE; core.clock restores it
USE_TZ = True
USE_I18N = True
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = DATA_DIR / "static"
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = False
SERVESTATIC_ALLOW_ALL_ORIGINS = False

SENTRY_DSN = env.str("SENTRY_DSN", default="")
SENTRY_ENVIRONMENT = env.str("SENTRY_ENVIRONMENT", default="production")
LOG_FORMAT = env.str("LOG_FORMAT", default="console")
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO").upper()
LOGGING_CONFIG = "core.observability.set_up"
# Commands log warnings only; `core.observability.configure` applies LOG_LEVEL in long-running processes.
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "core.observability.line_formatter", "kind": LOG_FORMAT}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "line"},
        "errors": {"class": "core.errors.capture.ErrorHandler", "level": "ERROR"},
    },
    "root": {"handlers": ["stderr", "errors"], "level": "WARNING"},
    "loggers": {
        "django": {"handlers": []},
        "django.server": {"handlers": [], "propagate": True},
        "django.request": {"level": "ERROR"},  # the request log already has every 4xx
        "django-q": {"level": "WARNING"},  # it logs every queued job
    },
}
