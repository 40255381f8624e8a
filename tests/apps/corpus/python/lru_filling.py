# An lru_cache with a maxsize that it has not reached at the last snapshot.
# truth: {"verdict": "growing, not sure"}
import functools

import harness


class Answer:
    def __init__(self, number):
        self.text = f"answer {number}"


@functools.lru_cache(maxsize=1000)
def answer(number):
    return Answer(number)


harness.serve(answer)
