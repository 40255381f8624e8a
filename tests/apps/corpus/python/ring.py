"""A deque with a bound, whose oldest samples make room."""
# truth: {"verdict": "not leaking"}

import collections

from harness import serve


class Sample:
    def __init__(self, number):
        self.label = f"sample {number}"


samples = collections.deque(maxlen=90)


def handle(number):
    samples.append(Sample(number))


serve(handle)
