"""Any other service, with an Apprise URL.

Apprise's libraries connect by themselves. Each message is therefore sent by a process of its own, whose guard
refuses forbidden addresses. That process must start fast: it imports this package without Django.
"""
