/* What the child sends: DATA frames on the connection, and the table of names. No stdio, no malloc. */
#ifndef MEMWATCH_OUTPUT_H
#define MEMWATCH_OUTPUT_H

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "memory.h"

/* As wire.DATA_BYTES: a frame of at most 32 KiB goes into a Unix socket whole or not at all. */
enum { HEADER_BYTES = 5, DATA_BYTES = (32 << 10) - 16, DATA_FRAME = 4, STALL_MILLIS = 1000 };
enum { EXIT_READER_GONE = 66, EXIT_ORPHANED = 67 };

static struct {
    int connection, status;
    pid_t parent;
    uint64_t sent;
    uint32_t used;
    uint8_t frame[HEADER_BYTES + DATA_BYTES];
} out;

/* Waits until the reader takes more; ends the child whose parent is gone. */
static void wait_for_reader(void)
{
    struct pollfd ready = {out.connection, POLLOUT, 0};
    if (getppid() != out.parent)
        _exit(EXIT_ORPHANED);
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
            _exit(EXIT_READER_GONE);
        } else if (sent > 0) {
            if (at == 0 && sent < total) /* see Snapshot.left_half_frame */
                (void)!write(out.status, "<", 1);
            else if (at > 0 && at + sent == total)
                (void)!write(out.status, ">", 1);
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

/* ---- The table of names: each text once. ---- */

typedef struct {
    const char *text;
    uint32_t length;
} Name;

static struct {
    Name *items;
    uint32_t *index; /* by hash of the text; 0 is empty, else number + 1 */
    uint32_t count, room;
} names;

static uint64_t hash_text(const char *text, size_t length)
{
    uint64_t hash = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)text[i]) * 0x100000001b3ull;
    return hash ^ hash >> 29;
}

static uint32_t *name_place(const char *text, size_t length)
{
    for (uint64_t place = hash_text(text, length);; place++) {
        uint32_t *entry = &names.index[place & (2 * (uint64_t)names.room - 1)];
        if (*entry == 0)
            return entry;
        const Name *name = &names.items[*entry - 1];
        if (name->length == length && memcmp(name->text, text, length) == 0)
            return entry;
    }
}

static void names_grow(void)
{
    uint32_t room = names.room ? 2 * names.room : 1 << 14;
    Name *items = map_pages(room * sizeof *items);
    if (names.room) {
        memcpy(items, names.items, names.count * sizeof *items);
        munmap(names.items, names.room * sizeof *items);
        munmap(names.index, 2 * (size_t)names.room * sizeof *names.index);
    }
    names.items = items;
    names.room = room;
    names.index = map_pages(2 * (size_t)room * sizeof *names.index);
    for (uint32_t i = 0; i < names.count; i++)
        *name_place(items[i].text, items[i].length) = i + 1;
}

/* The number of a text, which is copied if it is new. */
static uint32_t name_number(const char *text, size_t length)
{
    if (names.count == names.room)
        names_grow();
    uint32_t *entry = name_place(text, length);
    if (*entry == 0) {
        char *copy = take(length ? length : 1);
        memcpy(copy, text, length);
        names.items[names.count] = (Name){copy, (uint32_t)length};
        *entry = ++names.count;
    }
    return *entry - 1;
}

static uint32_t name_of_text(const char *text)
{
    return name_number(text, strlen(text));
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
