"""What assets need from outside: the feed and storage."""
