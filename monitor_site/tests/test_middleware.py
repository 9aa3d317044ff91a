from __future__ import annotations

import gzip
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, sync_to_async
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.contrib.messages.api import info
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path
from django.utils.module_loading import import_string

from monitor_site import middleware
from programs.tests.api_rig import PROBLEM


def classes() -> list[Any]:
    return [import_string(name) for name in settings.MIDDLEWARE]


def test_compression_comes_outside_of_the_tags() -> None:
    names = [found.__name__ for found in classes()]
    order = ["CompressionMiddleware", "ApiConditionalGetMiddleware", "SessionMiddleware"]
    assert sorted(order, key=names.index) == order


# --- The site under them, called as the web process calls it -------------------------------------------


async def says_something(request: HttpRequest) -> HttpResponse:
    await sync_to_async(info)(request, "hello")
    request.session["seen"] = 1
    return HttpResponse("x")


async def hears_it(request: HttpRequest) -> HttpResponse:
    texts = await sync_to_async(lambda: [str(message) for message in get_messages(request)])()
    return HttpResponse(f"{texts} {await request.session.aget('seen')}")


async def computes(request: HttpRequest) -> HttpResponse:
    return HttpResponse("x")


def writes(request: HttpRequest) -> HttpResponse:
    return HttpResponse("written")


async def flows(request: HttpRequest) -> StreamingHttpResponse:
    async def lines() -> Any:
        yield b"x" * 1000

    return StreamingHttpResponse(lines(), content_type="text/plain", headers={"X-Accel-Buffering": "no"})


def breaks(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("hunter2")


urlpatterns = [
    path("says", says_something),
    path("hears", hears_it),
    path("writes", writes),
    path("page", lambda request: HttpResponse("x" * 1000)),
    path("async", computes),
    path("flows", flows),
    path("api/data", lambda request: HttpResponse(b"x" * 1000, content_type="application/json")),
    path("api/breaks", breaks),
]
ours = pytest.mark.urls(__name__)


@ours
@pytest.mark.django_db(transaction=True)
async def test_sessions_and_messages_reach_the_next_page() -> None:
    client = AsyncClient()
    assert (await client.get("/says")).status_code == 200
    assert (await client.get("/hears")).content == b"['hello'] 1"
    assert (await client.get("/hears")).content == b"[] 1"


@ours
@pytest.mark.django_db(transaction=True)
async def test_middleware_of_this_project_does_not_change_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    client, names, real = AsyncClient(), [], SyncToAsync.__call__
    await client.get("/async")

    async def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        names.append(self.func.__qualname__)
        return await real(self, *args, **kwargs)

    monkeypatch.setattr(SyncToAsync, "__call__", noting)
    await client.get("/async")
    ours = [found.__name__ for found in classes() if found.__module__ == middleware.__name__]
    assert len(ours) == 6
    assert not [
        name for name in names if name.split(".")[0] in {*ours, "GZipMiddleware", "ConditionalGetMiddleware"}
    ]


@ours
@pytest.mark.django_db
async def test_forms_still_need_their_csrf_token() -> None:
    client = AsyncClient(enforce_csrf_checks=True)
    assert (await client.post("/writes")).status_code == 403
    client.cookies["csrftoken"] = "a" * 32
    answer = await client.post("/writes", headers={"X-CSRFToken": "a" * 32})
    assert (answer.status_code, answer.content) == (200, b"written")


@ours
def test_every_answer_has_its_policy() -> None:
    for address, policy in (
        ("/page", middleware.PAGES),
        ("/api/data", middleware.DATA),
        ("/nix", middleware.PAGES),
    ):
        answer = Client().get(address)
        assert answer["Content-Security-Policy"] == policy
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert answer["Referrer-Policy"] == "same-origin"
        assert answer["X-Frame-Options"] == "DENY"


def test_pages_may_run_no_foreign_and_no_inline_script() -> None:
    policy = dict(part.strip().split(" ", 1) for part in middleware.PAGES.split(";"))
    assert policy["script-src"].split() == ["'self'", "'unsafe-eval'"]
    assert policy["default-src"] == policy["form-action"] == "'self'"
    assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"


@ours
def test_pages_are_compressed_and_live_streams_are_not() -> None:
    headers = {"Accept-Encoding": "gzip"}
    page = Client().get("/page", headers=headers)
    assert gzip.decompress(page.content) == b"x" * 1000
    request = RequestFactory(headers=headers).get("/flows")
    stream = StreamingHttpResponse([b"x" * 1000], headers={"X-Accel-Buffering": "no"})
    answer: Any = middleware.CompressionMiddleware(lambda request: stream)(request)
    assert "Content-Encoding" not in answer


@ours
def test_only_the_api_answers_with_tags() -> None:
    assert "ETag" in Client().get("/api/data")
    assert "ETag" not in Client().get("/page")


@ours
@pytest.mark.django_db
def test_what_breaks_under_the_api_without_ninja_is_a_problem_too() -> None:
    answer = Client(raise_request_exception=False).get("/api/breaks")
    assert (answer.status_code, answer["Content-Type"]) == (500, PROBLEM)
    assert b"hunter2" not in answer.content


@pytest.mark.django_db
def test_the_root_leads_to_the_admin() -> None:
    assert Client().get("/")["Location"] == "/admin/"


@pytest.mark.django_db(transaction=True)
async def test_static_files_are_served_without_being_collected() -> None:
    answer: Any = await AsyncClient().get("/static/admin/css/base.css")
    body = b"".join([chunk async for chunk in answer.streaming_content])
    assert answer.status_code == 200
    assert b"body" in body
    assert "Access-Control-Allow-Origin" not in answer
    for address in ("/static/../manage.py", "/static/%2e%2e/manage.py", "/static/nix.css"):
        assert (await AsyncClient().get(address)).status_code == 404


@pytest.mark.django_db(transaction=True)
async def test_the_log_in_works_through_all_of_it() -> None:
    await sync_to_async(User.objects.create_superuser)("root", password="correct horse battery")
    client = AsyncClient()
    await client.alogin(username="root", password="correct horse battery")
    assert (await client.get("/api/status")).status_code == 200
    await client.alogout()
    assert (await client.get("/api/status")).status_code == 401


@pytest.mark.parametrize("path", ["/api/webhooks/deliveries/%00", "/admin/%00/", "/static/%00", "/%00"])
def test_nothing_lies_at_an_address_with_a_nul(db: None, path: str) -> None:
    assert Client().get(path).status_code == 404


def test_the_api_says_which_field_holds_a_nul_and_a_page_is_not_asked_for_with_one(db: None) -> None:
    answer = Client().get("/api/events?severity=error&type=a%00b&%00=1&search=%2500")
    assert (answer.status_code, answer["Content-Type"]) == (422, PROBLEM)
    assert [error["field"] for error in answer.json()["errors"]] == ["type", "\x00"]
    assert Client().get("/admin/login/?next=%00").status_code == 400
    assert Client().get("/admin/login/?next=%2500").status_code == 200
