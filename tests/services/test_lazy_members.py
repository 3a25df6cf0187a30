"""What a device is known to have received."""

from homeserver.services.sync.lazy_members import DEVICES_KEPT, MEMBERS_KEPT, SentMembers

PHONE, LAPTOP = ("@alice:ours.test", "PHONE"), ("@alice:ours.test", "LAPTOP")


def test_what_was_sent_is_known_when_the_device_comes_back_with_its_token() -> None:
    sent = SentMembers()
    assert sent.known(PHONE, None) == frozenset()
    sent.note(PHONE, 5, {"$a"})
    assert sent.known(LAPTOP, 5) == frozenset()
    assert sent.known(PHONE, 5) == {"$a"}
    sent.note(PHONE, 7, {"$b"})
    assert sent.known(PHONE, 5) == {"$a"}, "the answer was lost"
    sent.note(PHONE, 7, {"$b"})
    assert sent.known(PHONE, 7) == {"$a", "$b"}


def test_a_device_that_goes_back_or_starts_anew_knows_nothing() -> None:
    sent = SentMembers()
    for since in (4, None):
        sent.note(PHONE, 5, {"$a"})
        assert sent.known(PHONE, 5) == {"$a"}
        assert sent.known(PHONE, since) == frozenset()
        assert sent.known(PHONE, 5) == frozenset()


def test_the_memory_is_limited() -> None:
    sent = SentMembers()
    sent.note(PHONE, 1, [f"${number}" for number in range(MEMBERS_KEPT + 10)])
    assert len(sent.known(PHONE, 1)) == MEMBERS_KEPT
    for number in range(DEVICES_KEPT):
        sent.note(("@bob:ours.test", str(number)), 1, ())
    assert sent.known(PHONE, 1) == frozenset()
