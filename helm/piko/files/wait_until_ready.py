"""Asks every URL of the command line until it answers 200, or fails after a minute with what it said."""

import sys
import time
import urllib.error
import urllib.request

ATTEMPTS = 30
PAUSE_S = 2


def ask(url: str) -> tuple[bool, str]:
    """Whether `url` answers 200, and its answer in words."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return True, f"{response.status} {response.read(200).decode(errors='replace').strip()}"
    except urllib.error.HTTPError as error:
        return False, f"{error.code} {error.read(500).decode(errors='replace').strip()}"
    except OSError as error:
        return False, str(error)


def wait_until_ready(url: str) -> bool:
    """Polls `url`, and prints the last answer."""
    answer = "was not asked"
    for _ in range(ATTEMPTS):
        ready, answer = ask(url)
        if ready:
            print(f"{url}: {answer}", flush=True)
            return True
        time.sleep(PAUSE_S)
    print(f"{url}: not ready after {ATTEMPTS * PAUSE_S} s: {answer}", flush=True)
    return False


if __name__ == "__main__":
    # Each one is asked, so that the log names all that are not ready.
    answers = [wait_until_ready(url) for url in sys.argv[1:]]
    sys.exit(0 if all(answers) else 1)
