/* What the child sends of a `.heapsnapshot`: DATA frames on the connection. No stdio, no malloc. */
#ifndef MEMWATCH_CONNECTION_H
#define MEMWATCH_CONNECTION_H

#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "guard.h"
#include "names.h"

/* As wire.DATA_BYTES: a frame of at most 32 KiB goes into a Unix socket whole or not at all. */
enum { HEADER_BYTES = 5, DATA_BYTES = (32 << 10) - 16, DATA_FRAME = 4, STALL_MILLIS = 1000 };

STATE struct {
    int connection;
    uint64_t sent;
    uint32_t used;
    uint8_t frame[HEADER_BYTES + DATA_BYTES];
} out;

/* Waits until the reader takes more, as long as the app lives and has room. */
static void wait_for_reader(void)
{
    struct pollfd ready = {out.connection, POLLOUT, 0};
    tick();
    (void)poll(&ready, 1, STALL_MILLIS);
}

static void out_flush(void)
{
    uint32_t length = out.used, at = 0, total = HEADER_BYTES + length;
    if (length == 0)
        return;
    out.frame[0] = length >> 24;
    out.frame[1] = length >> 16;
    out.frame[2] = length >> 8;
    out.frame[3] = length;
    out.frame[4] = DATA_FRAME;
    while (at < total) {
        ssize_t sent = send(out.connection, out.frame + at, total - at, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            wait_for_reader();
        } else if (sent < 0 && errno != EINTR) {
            give_up("its reader is gone");
        } else if (sent > 0) {
            if (at == 0 && sent < total) /* see Snapshot.left_half_frame */
                (void)!write(run.status, "<", 1);
            else if (at > 0 && at + sent == total)
                (void)!write(run.status, ">", 1);
            at += sent;
        }
    }
    out.sent += length;
    out.used = 0;
}

static inline void out_byte(uint8_t byte)
{
    if (out.used == DATA_BYTES)
        out_flush();
    out.frame[HEADER_BYTES + out.used++] = byte;
}

static void out_bytes(const char *bytes, size_t count)
{
    while (count--)
        out_byte((uint8_t)*bytes++);
}

static void out_text(const char *text)
{
    out_bytes(text, strlen(text));
}

static void out_number(uint64_t number)
{
    char digits[20];
    int at = sizeof digits;
    do
        digits[--at] = '0' + number % 10;
    while (number /= 10);
    out_bytes(digits + at, sizeof digits - at);
}

/* A string of UTF-8 as JSON. */
static void out_json(const char *text, size_t length)
{
    static const char hex[] = "0123456789abcdef";
    out_byte('"');
    for (size_t i = 0; i < length; i++) {
        uint8_t byte = (uint8_t)text[i];
        if (byte < 0x20) {
            out_text("\\u00");
            out_byte(hex[byte >> 4]);
            out_byte(hex[byte & 15]);
        } else {
            if (byte == '"' || byte == '\\')
                out_byte('\\');
            out_byte(byte);
        }
    }
    out_byte('"');
}

static void out_names(void)
{
    for (uint32_t i = 0; i < names.count; i++) {
        if (i)
            out_byte(',');
        out_json(names.items[i].text, names.items[i].length);
    }
}

#endif
