"""Fingerprints of errors, and what is stored of one."""

from __future__ import annotations

import json
from functools import partial

from core.errors.occurrence import MAX_MESSAGE, MAX_TRACEBACK, format_traceback
from core.tests.errors.factories import catch, fail, occurrence_of

TOKEN = "pm_1a2b3c4d_" + "x" * 43


def test_the_same_error_with_other_values_has_the_same_fingerprint() -> None:
    one, other = (occurrence_of(catch(partial(fail, value))) for value in (1, 2))
    assert one.fingerprint == other.fingerprint
    assert (one.message, other.message) == ("cannot use 1", "cannot use 2")
    assert one.culprit == "core.tests.errors.factories.fail"


def test_moved_lines_do_not_change_the_fingerprint() -> None:
    source = "def fail():\n    raise ValueError\nrefuse()"
    moved = (catch(partial(exec, text, {"__name__": "programs.x"})) for text in (source, "\n\n" + source))
    assert len({occurrence_of(error).fingerprint for error in moved}) == 1


def test_another_type_or_caller_changes_the_fingerprint() -> None:
    def another_caller() -> None:
        fail()

    def type_error() -> None:
        raise TypeError("x")

    def key_error() -> None:
        raise KeyError("x")

    errors = [catch(fail) for fail in (fail, another_caller, type_error, key_error)]
    assert len({occurrence_of(error).fingerprint for error in errors}) == 4


def test_frames_of_libraries_are_ignored_if_one_is_ours() -> None:
    error = catch(lambda: json.loads("{"))
    assert occurrence_of(error).culprit.startswith("core.tests.errors.test_occurrence.")
    foreign = AttributeError()
    assert (occurrence_of(foreign).kind, occurrence_of(foreign).culprit) == ("AttributeError", "")


def test_the_depth_of_a_recursion_does_not_change_the_fingerprint() -> None:
    def sink(depth: int) -> None:
        if depth == 0:
            raise ValueError
        sink(depth - 1)

    prints = {occurrence_of(catch(partial(sink, depth))).fingerprint for depth in (1, 2, 50)}
    assert len(prints) == 1


def test_a_single_error_of_a_task_group_is_unwrapped() -> None:
    def fail() -> None:
        raise ExceptionGroup("several", [ValueError("the one")])

    assert (occurrence_of(catch(fail)).kind, occurrence_of(catch(fail)).message) == ("ValueError", "the one")


def test_the_message_has_no_secrets_and_no_line_breaks() -> None:
    message = occurrence_of(catch(lambda: fail(f"{TOKEN}\nforged\x1b[2J" + "y" * 9999))).message
    assert "x" * 43 not in message
    assert not {"\n", "\x1b"} & set(message)
    assert len(message) == MAX_MESSAGE


def test_an_error_with_a_broken_str_is_recorded() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def fail() -> None:
        raise MuteError

    assert occurrence_of(catch(fail)).message == "(no text: __str__ raised RuntimeError)"


def test_a_traceback_is_limited_masked_and_without_values() -> None:
    hidden_local = "hunter" + str(2)

    def recurse() -> None:
        assert hidden_local
        recurse()

    text = format_traceback(catch(recurse))
    assert len(text) <= MAX_TRACEBACK
    assert "hunter2" not in text
    text = format_traceback(catch(lambda: fail(TOKEN)))
    assert "x" * 43 not in text
    assert "in fail" in text
