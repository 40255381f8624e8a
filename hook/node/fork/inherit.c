/* Makes V8's memory inheritable for the length of one fork. */
#include "fork.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_DONTFORK
#error "MADV_DONTFORK is needed"
#endif

enum {
  /* A heap of 1 GB has about 4,000 mappings; the kernel allows 65,530 by default. */
  MAX_RANGES = 1 << 20,
  READ_BYTES = 1 << 16,
  /* A line of smaps is shorter but for a long path, whose rest is skipped. */
  LINE_BYTES = 512,
};

/* One mapping as a line of maps tells it. */
struct mapping {
  struct range range;
  bool private_anonymous;
};

/* Reads a /proc file by lines without allocating; the main thread does this while the app waits. */
struct lines {
  int fd;
  size_t at, filled;
  char buffer[READ_BYTES];
};

static struct lines *lines_open(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return NULL;
  struct lines *lines = malloc(sizeof *lines);
  if (lines == NULL) {
    close(fd);
    return NULL;
  }
  lines->fd = fd;
  lines->at = lines->filled = 0;
  return lines;
}

static void lines_close(struct lines *lines) {
  close(lines->fd);
  free(lines);
}

/* The next line without its newline, cut at `size`; false at the end. */
static bool lines_next(struct lines *lines, char *line, size_t size) {
  size_t length = 0;
  for (;;) {
    if (lines->at == lines->filled) {
      ssize_t got = read(lines->fd, lines->buffer, sizeof lines->buffer);
      if (got <= 0) return false;
      lines->at = 0;
      lines->filled = (size_t)got;
    }
    char byte = lines->buffer[lines->at++];
    if (byte == '\n') break;
    if (length + 1 < size) line[length++] = byte;
  }
  line[length] = '\0';
  return true;
}

/* Parses "start-end perms offset dev inode path"; false for any other line. */
static bool mapping_parse(const char *line, struct mapping *mapping) {
  char *end;
  mapping->range.start = strtoul(line, &end, 16);
  if (end == line || *end != '-') return false;
  const char *second = end + 1;
  mapping->range.end = strtoul(second, &end, 16);
  if (end == second || *end != ' ' || strlen(end) < 6) return false;
  bool is_private = end[4] == 'p';
  const char *field = end + 6; /* offset, then device, then inode */
  for (int skipped = 0; skipped < 2; skipped++) {
    field = strchr(field, ' ');
    if (field == NULL) return false;
    field++;
  }
  bool anonymous = field[0] == '0' && (field[1] == ' ' || field[1] == '\0');
  bool kernels = strstr(field, "[v") != NULL; /* [vdso], [vvar], [vsyscall] */
  mapping->private_anonymous = is_private && anonymous && !kernels;
  return true;
}

static bool ranges_add(struct ranges *ranges, struct range range) {
  if (ranges->count == ranges->room) {
    size_t room = ranges->room ? ranges->room * 2 : 1024;
    struct range *items =
        room > MAX_RANGES ? NULL : realloc(ranges->items, room * sizeof *ranges->items);
    if (items == NULL) return false;
    ranges->items = items;
    ranges->room = room;
  }
  ranges->items[ranges->count++] = range;
  return true;
}

int ranges_read(struct ranges *ranges) {
  struct lines *lines = lines_open("/proc/self/smaps");
  if (lines == NULL) return errno ? errno : ENOMEM;
  char line[LINE_BYTES];
  struct mapping mapping = {{0, 0}, false}, next;
  int error = 0;
  while (error == 0 && lines_next(lines, line, sizeof line)) {
    if (strncmp(line, "VmFlags:", 8) == 0) {
      bool marked = strstr(line, " dc") != NULL;
      if (marked && mapping.private_anonymous && !ranges_add(ranges, mapping.range)) error = ENOMEM;
    } else if (mapping_parse(line, &next)) {
      mapping = next;
    }
  }
  lines_close(lines);
  return error;
}

void ranges_free(struct ranges *ranges) {
  free(ranges->items);
  ranges->items = NULL;
  ranges->count = ranges->room = 0;
}

/* madvise for a run of neighbouring mappings; one that is gone meanwhile is no error. */
static int advise(struct range run, int advice) {
  if (run.start == run.end) return 0;
  if (madvise((void *)run.start, run.end - run.start, advice) == 0) return 0;
  return errno == ENOMEM ? 0 : errno;
}

/*
 * Every private anonymous mapping is asked for, not only those in `ranges`: V8 may have mapped
 * more since they were read, and a page that is missing ends the child.
 */
int inherit_begin(struct ranges *ranges) {
  struct lines *lines = lines_open("/proc/self/maps");
  if (lines == NULL) return errno ? errno : ENOMEM;
  char line[LINE_BYTES];
  struct mapping mapping;
  struct range run = {0, 0};
  size_t known = 0, kept = 0;
  int error = 0;
  while (error == 0 && lines_next(lines, line, sizeof line)) {
    if (!mapping_parse(line, &mapping) || !mapping.private_anonymous) continue;
    struct range range = mapping.range;
    while (known < ranges->count && ranges->items[known].start < range.start) known++;
    if (known < ranges->count && ranges->items[known].start == range.start &&
        ranges->items[known].end == range.end)
      ranges->items[kept++] = range; /* kept ≤ known: nothing unread is overwritten */
    if (range.start == run.end) {
      run.end = range.end;
      continue;
    }
    error = advise(run, MADV_DOFORK);
    run = range;
  }
  if (error == 0) error = advise(run, MADV_DOFORK);
  ranges->count = kept;
  lines_close(lines);
  return error;
}

void inherit_end(const struct ranges *ranges) {
  for (size_t at = 0; at < ranges->count; at++) (void)advise(ranges->items[at], MADV_DONTFORK);
}
