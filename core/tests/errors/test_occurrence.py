"""Which errors are the same, and what is kept of one."""

from __future__ import annotations

import json
from functools import partial

from core.errors.occurrence import LONGEST_MESSAGE, LONGEST_TRACEBACK, traceback_of
from core.tests.errors.rig import caught, refuse, seen

TOKEN = "pm_1a2b3c4d_" + "x" * 43


def test_the_same_fault_with_other_values_is_one_group() -> None:
    one, other = (seen(caught(partial(refuse, value))) for value in (1, 2))
    assert one.fingerprint == other.fingerprint
    assert (one.message, other.message) == ("cannot use 1", "cannot use 2")
    assert one.culprit == "core.tests.errors.rig.refuse"


def test_lines_that_move_do_not_make_another_group() -> None:
    source = "def refuse():\n    raise ValueError\nrefuse()"
    moved = (caught(partial(exec, text, {"__name__": "programs.x"})) for text in (source, "\n\n" + source))
    assert len({seen(error).fingerprint for error in moved}) == 1


def test_another_type_or_another_caller_is_another_group() -> None:
    def another_caller() -> None:
        refuse()

    def type_error() -> None:
        raise TypeError("x")

    def key_error() -> None:
        raise KeyError("x")

    errors = [caught(fail) for fail in (refuse, another_caller, type_error, key_error)]
    assert len({seen(error).fingerprint for error in errors}) == 4


def test_frames_of_libraries_do_not_count_while_one_is_ours() -> None:
    error = caught(lambda: json.loads("{"))
    assert seen(error).culprit.startswith("core.tests.errors.test_occurrence.")
    foreign = AttributeError()
    assert (seen(foreign).kind, seen(foreign).culprit) == ("AttributeError", "")


def test_how_deep_a_function_called_itself_does_not_matter() -> None:
    def sink(depth: int) -> None:
        if depth == 0:
            raise ValueError
        sink(depth - 1)

    prints = {seen(caught(partial(sink, depth))).fingerprint for depth in (1, 2, 50)}
    assert len(prints) == 1


def test_one_error_of_a_task_group_counts_as_itself() -> None:
    def fail() -> None:
        raise ExceptionGroup("several", [ValueError("the one")])

    assert (seen(caught(fail)).kind, seen(caught(fail)).message) == ("ValueError", "the one")


def test_secrets_and_line_breaks_do_not_get_into_the_message() -> None:
    message = seen(caught(lambda: refuse(f"{TOKEN}\nforged\x1b[2J" + "y" * 9999))).message
    assert "x" * 43 not in message
    assert not {"\n", "\x1b"} & set(message)
    assert len(message) == LONGEST_MESSAGE


def test_an_error_that_cannot_say_what_it_is_is_counted_all_the_same() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def fail() -> None:
        raise MuteError

    assert seen(caught(fail)).message == "(its text could not be made: RuntimeError)"


def test_a_traceback_is_bounded_masked_and_without_values() -> None:
    hidden_local = "hunter" + str(2)

    def recurse() -> None:
        assert hidden_local
        recurse()

    text = traceback_of(caught(recurse))
    assert len(text) <= LONGEST_TRACEBACK
    assert "hunter2" not in text
    text = traceback_of(caught(lambda: refuse(TOKEN)))
    assert "x" * 43 not in text
    assert "in refuse" in text
