"""A WeakKeyDictionary whose values hold their own keys: nothing ever goes."""
# truth: {"verdict": "leaking", "holder": "profiles", "kind": "WeakKeyDictionary", "class": "Profile", "per_unit": 1, "at": "def __init__"}

import weakref

from harness import serve


class User:
    def __init__(self, number):
        self.name = f"user {number}"


class Profile:
    def __init__(self, user):
        self.user = user


profiles = weakref.WeakKeyDictionary()


def handle(number):
    user = User(number)
    profiles[user] = Profile(user)


serve(handle)
