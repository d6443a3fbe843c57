"""Signals: the first is a wish, the second acts as before, and the old handlers come back."""

import os
import signal
import threading

import pytest

from convnext.train.signals import SIGNALS, StopRequest


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted_and_a_second_ctrl_c_acts_as_before(number: signal.Signals) -> None:
    heard: list[int] = []
    before = signal.signal(number, lambda got, frame: heard.append(got))
    mine = signal.getsignal(number)
    try:
        with StopRequest() as stop:
            assert not stop.requested
            os.kill(os.getpid(), number)
            assert stop.requested and stop.signal_name == number.name
            assert heard == []
            os.kill(os.getpid(), number)
            # Schedulers and torchrun send SIGTERM twice, and mean the same.
            assert heard == ([number] if number == signal.SIGINT else [])
        assert signal.getsignal(number) is mine
        with StopRequest():
            pass
        assert signal.getsignal(number) is mine
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_wish_that_is_granted_at_once_is_raised_once(number: signal.Signals) -> None:
    heard: list[int] = []
    before = signal.signal(number, lambda got, frame: heard.append(got))
    mine = signal.getsignal(number)
    try:
        with StopRequest(at_once=True) as stop:
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
            assert stop.requested
            # Whoever cleans up is not disturbed by a scheduler that asks again.
            os.kill(os.getpid(), number)
            assert heard == ([number] if number == signal.SIGINT else [])
        assert signal.getsignal(number) is mine
    finally:
        signal.signal(number, before)


def test_a_wish_inside_of_one_that_is_granted_at_once() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with StopRequest(at_once=True) as outer:
        with StopRequest() as inner:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            assert inner.requested and not outer.requested
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_handlers_come_back_after_an_error() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(ZeroDivisionError), StopRequest():
        1 / 0  # noqa: B018
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_other_threads_install_nothing() -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with StopRequest() as stop:
                assert not stop.requested
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == []


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_worker_obeys_sigterm() -> None:
    with StopRequest() as stop:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGINT)
            os.write(write, b"alive")
            while True:
                signal.pause()
        assert os.read(read, 5) == b"alive"
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) in (128 + signal.SIGTERM, -signal.SIGTERM)
        assert not stop.requested
        os.close(read)
        os.close(write)
