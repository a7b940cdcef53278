"""What the builder says to people: on stderr the steps that take time, and how long they took; and errors."""

import contextlib
import sys
import time


@contextlib.contextmanager
def step(what: str):
    """Names a step before it starts and adds its duration when it ends."""
    started = time.monotonic()
    print(f"  {what} ...", file=sys.stderr, flush=True)
    try:
        yield
    except BaseException:
        print(f"  {what}: failed after {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
        raise
    print(f"  {what}: {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)


class BuildError(Exception):
    """A build that cannot go on. The message says what to do next."""
