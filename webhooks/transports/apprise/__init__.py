"""Any other service, through the URLs of Apprise. Its libraries dial by themselves, so each message is handed over
by a process of its own that refuses to dial where it may not.

This package stays light: that process loads it without Django.
"""
