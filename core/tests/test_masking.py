from __future__ import annotations

import pytest

from core.masking import MASK, mask_lines, mask_text, mask_texts, masked, printable


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "new_password",
        "SECRET_KEY",
        "api-key",
        "csrftoken",
        "Authorization",
        "set-cookie",
        "accessToken",
    ],
)
def test_values_with_a_secret_name_are_masked(name: str) -> None:
    assert masked({name: "hunter2"}) == {name: MASK}


@pytest.mark.parametrize("name", ["token_prefix", "key", "tokenizer", "monkey", "compass", "passed"])
def test_values_with_other_names_are_not_masked(name: str) -> None:
    assert masked({name: "x"}) == {name: "x"}


@pytest.mark.parametrize("empty", [None, "", {"set": True}, True, False])
def test_empty_values_and_set_flags_are_not_masked(empty: object) -> None:
    assert masked({"secret": empty}) == {"secret": empty}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("pm_1a2b3c4d_" + "A" * 43, f"pm_1a2b3c4d_{MASK}"),
        ("bearer abcdefghij", f"bearer {MASK}"),
        ("redis://:pw@h/0", f"redis://:{MASK}@h/0"),
        ("https://u:p%40w@h/x?y", f"https://u:{MASK}@h/x?y"),
        ("http://host:8000/path@2x", "http://host:8000/path@2x"),
        ("the bearer of news", "the bearer of news"),
    ],
)
def test_texts_that_look_like_secrets_are_masked(text: str, shown: str) -> None:
    assert mask_text(text) == shown


def test_printable_text_is_one_line() -> None:
    assert printable("a\nb\r\x1b[2J\x9b\tc") == "a b\ufffd\ufffd[2J\ufffd\tc"


SECRET = "hunter2x"
SECRETS_BY_NAME = [
    "docker login -u bob -p hunter2x",
    "passcode=hunter2x",
    "PASSWORD%3Dhunter2x",
    "password=&#x27;hunter2x",
    "user:hunter2x@",
    "pin=hunter2x",
    "jwt: hunter2x",
    "DB_PASSWORD=hunter2x",
    "run --password hunter2x --user bob",
    "--password=hunter2x",
    "api_key: hunter2x",
    "GET /x?token=hunter2x&a=1",
    "postgres://u:hunter2x@h/db",
    "u:hunter2x@host",
    '{"password": "hunter2x"}',
    "{'secret': 'hunter2x'}",
    '{\\"token\\": \\"hunter2x\\"}',
    ':password=>"hunter2x"',
    '"password" => "hunter2x"',
    "PGPASSWORD=hunter2x psql",
    "PGPASSWORD='hunter2x' psql",
    "DB_PASS=hunter2x",
    "pass: hunter2x",
    "pwd=hunter2x",
    "DB_PWD=hunter2x",
    "X-Api-Key: hunter2x",
    "Authorization: Basic hunter2x",
    "Authorization: hunter2x",
    "authorization: Token hunter2x",
    "Set-Cookie: sid=hunter2x; Path=/",
    "Cookie: a=b; sid=hunter2x",
    "_authToken=hunter2x",
    "//registry.npmjs.org/:_auth=hunter2x",
    "client_secret=hunter2x",
    "AWS_SECRET_ACCESS_KEY=hunter2x",
    "AccountKey=hunter2x;EndpointSuffix",
    "Server=a;Password=hunter2x;Encrypt=1",
    "<password>hunter2x</password>",
    "curl -u bob:hunter2x https://h",
    "mysql -u root -phunter2x db",
    "sshpass -p hunter2x ssh h",
    "?sig=hunter2x",
    "?access_token=hunter2x",
    "https://h/cb?code=hunter2x",
    "password = hunter2x",
    'PASSWORD: "hunter2x',
    "API_KEY_PROD=hunter2x",
    "password1=hunter2x",
    "redis://:p@hunter2x@h:1",
    "DJANGO_SECRET_KEY=hunter2x",
    "secret=hunter2x",
    "export TOKEN=hunter2x",
    "token=hunter2x,user=bob",
    "--api-key hunter2x",
    "--db-password 'hunter2x'",
    "-password hunter2x",
    "SENTRY_DSN=https://hunter2x@o1.ingest.sentry.io/2",
    "amqp://guest:hunter2x@h",
    "passwd: hunter2x",
    "passphrase: hunter2x",
    "private_key=hunter2x",
    'password="a\\"hunter2x"',
    "session_id=hunter2x",
    "login admin:hunter2x@10.0.0.1",
    "apikey=hunter2x",
    "api key: hunter2x",
]
TOKENS = [
    "ghp_" + "a1B2" * 9, "github_pat_" + "a1B2" * 9, "AKIA" + "IOSFODNN7EXAMPLE", "xoxb-" + "123456789012-abcdef",
    "glpat-" + "abcdefghij0123456789", "AIza" + "x" * 35, "sk_live_" + "a1" * 12, "sk-proj-" + "a1" * 20,
    "SG." + "a" * 22 + "." + "b" * 43, "npm_" + "a1" * 18, "pypi-" + "a1" * 30, "hf_" + "a" * 34,
    "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxIn0.abc-DEF", "https://hooks.slack.com/services/" + "T00/B00/XXXXXXXX",
    "https://discord.com/api/webhooks/123/" + "abcDEFghi-jkl", "bot123456789:AA" + "x" * 33,
    "ya29." + "a0AfH6" * 4, "dckr_pat_" + "abcdefghij" * 3, "hvs." + "CAESIJabcdefghijklm",
]  # fmt: skip
HARMLESS = [
    "http://host:8000/path@2x",
    "the bearer of news",
    "PWD=/home/bob",
    "OLDPWD=/x",
    "PASS: test_foo",
    "tokens: 512 used",
    "max_tokens=4096",
    "token_type=x",
    "tokenizer=fast",
    "nginx:1.25@sha256:abcdef",
    "12:30:45 INFO x",
    "git@github.com:org/repo.git",
    "mailto:bob@example.com",
    "monkey=banana",
    "key=value",
    "password required",
    "compass=3",
    "no password given",
    "the secret of success",
    "author: bob",
    "keyboard: us",
    "--tokenizer fast",
    '"secret": {"set": true}',
    '"token": null',
    "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "risk-abcdefghijklmnopqrstuv",
    "ask-me",
    "--no-password",
    "PASSWORD_FILE=/run/secrets/x",
    "cookie policy",
    "string: abc",
    "passed: 5 failed: 1",
    "bypass=1",
    "http://a.b/c:d@e",
]


@pytest.mark.parametrize("text", SECRETS_BY_NAME)
def test_the_value_of_a_telling_name_is_masked_however_it_is_written(text: str) -> None:
    shown = mask_text(text)
    assert SECRET in text and SECRET not in shown and MASK in shown
    assert mask_text(shown) == shown


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("around", ["{}", "key {} used", '"{}"', "x={},y", "key {}. Next"])
def test_tokens_of_known_services_are_masked(token: str, around: str) -> None:
    shown = mask_text(around.replace("{}", token))
    assert token[-8:] not in shown and MASK in shown
    assert mask_text(shown) == shown


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_resembles_a_secret_is_left_alone(text: str) -> None:
    assert mask_text(text) == text


def test_key_blocks_are_masked_in_one_text_and_over_several_lines() -> None:
    body = ["MIIEvQIBADANBgkq", "hkiG9w0=="]
    block = ["-----BEGIN RSA PRIVATE KEY-----", *body, "-----END RSA PRIVATE KEY-----"]
    for text in ("\n".join(block), "\\n".join(block), "\n".join(block[:-1])):
        assert "MIIE" not in mask_text(text) and "hkiG" not in mask_text(text)
    for lines in (block, block[:-1], block[1:], [*block, *block[1:]]):
        shown = mask_lines(["before it", *lines, "after"])
        assert not {*body} & {*shown} and shown[0] == "before it"
        assert mask_lines(shown) == shown
    assert mask_lines(["start", *block, "end"])[-1] == "end"
    line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"
    checksum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert mask_lines([line, checksum]) == [MASK, checksum]


def test_every_text_in_json_data_is_masked_and_the_structure_stays() -> None:
    variables = [
        {"name": "DB_PASSWORD", "value": "x"},
        {"name": "MODE", "value": "y"},
        {"name": "KEY", "value": {"set": True}},
    ]
    data = {
        "changes": {"command": ["run --password a", 7], "environment": variables},
        "lines": ["-----BEGIN A-----", "b"],
    }
    assert mask_texts(data, lambda text: text.replace("run", "go")) == {
        "changes": {
            "command": [f"go --password {MASK}", 7],
            "environment": [{"name": "DB_PASSWORD", "value": MASK}, *variables[1:]],
        },
        "lines": [f"-----BEGIN A-----{MASK}-----END A-----", MASK],
    }
