"""gRPC channel options that both ends of every connection share.

A connection that a firewall forgot, or whose peer lost power, would otherwise look alive
for hours: each end pings a silent one and drops it when the ping is not answered. A server
must allow pings as frequent as its clients send them, or it answers them with GOAWAY.
"""

#: A ping after this long without a frame; well under the idle limits of usual load balancers.
PING_INTERVAL_MILLIS = 20_000

#: A connection is dropped when a ping is not answered for this long.
PING_TIMEOUT_MILLIS = 10_000

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", PING_INTERVAL_MILLIS),
    ("grpc.keepalive_timeout_ms", PING_TIMEOUT_MILLIS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)

SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    *CHANNEL_OPTIONS,
    ("grpc.http2.min_recv_ping_interval_without_data_ms", PING_INTERVAL_MILLIS // 2),
    # A second server on the same port would silently take half of the calls.
    ("grpc.so_reuseport", 0),
)
