"""What the controller keeps: metadata in SQL, snapshots as blobs."""
