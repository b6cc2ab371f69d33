"""What holds for every tier."""

import signal

# A shell starts what runs in its background with Ctrl-C ignored, and so would be whatever a test starts: those that
# press Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
