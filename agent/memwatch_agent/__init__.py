"""The agent: takes snapshots of the processes beside it and streams them out."""
