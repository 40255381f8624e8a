/*
 * Figures of a process that dies without having run any JavaScript of ours: a file as the hook
 * writes it (docs/formats/profiles.md), by nothing but system calls.
 */
#include "calls.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, TEXT_BYTES = 1024 };

static double unix_millis(void) {
  struct timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  return (double)time.tv_sec * 1e3 + (double)(time.tv_nsec / 1000000);
}

static double rss_bytes(void) {
  char text[128];
  unsigned long size, rss = 0;
  int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  ssize_t got = read(file, text, sizeof text - 1);
  close(file);
  if (got <= 0) return 0;
  text[got] = '\0';
  return sscanf(text, "%lu %lu", &size, &rss) == 2 ? (double)rss * (double)sysconf(_SC_PAGESIZE) : 0;
}

/* Whether JavaScript has left a file of this process's. */
static bool is_told(const char *directory, const char *prefix) {
  bool found = false;
  DIR *folder = opendir(directory);
  for (struct dirent *entry; folder != NULL && !found && (entry = readdir(folder)) != NULL;)
    found = strncmp(entry->d_name, prefix, strlen(prefix)) == 0 &&
            strstr(entry->d_name, "-near-limit.profile") != NULL;
  if (folder != NULL) closedir(folder);
  return found;
}

static bool write_file(const char *path, const char *text) {
  int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file < 0) return false;
  size_t length = strlen(text);
  bool whole = write(file, text, length) == (ssize_t)length;
  close(file);
  return whole;
}

void figures_leave(const char *directory, const char *prefix, size_t limit, const char *why) {
  char path[PATH_BYTES], text[TEXT_BYTES], about[TEXT_BYTES];
  double now = unix_millis();
  if (is_told(directory, prefix)) return;
  int length = snprintf(text, sizeof text,
                        "{\"format\":1,\"kind\":\"near-limit\",\"runtime\":\"node\",\"looks\":[{"
                        "\"time_millis\":%.0f,\"memory\":{\"rss_bytes\":%.0f},"
                        "\"heap\":{\"heap_limit_bytes\":%zu}}],"
                        "\"classes\":null,\"classes_missing\":\"%s\"}",
                        now, rss_bytes(), limit, why);
  int named = snprintf(path, sizeof path, "%s/%s%.0f-near-limit.profile", directory, prefix, now);
  if (length >= TEXT_BYTES || named + (int)sizeof ".json" >= PATH_BYTES) return;
  snprintf(about, sizeof about,
           "{\"size_bytes\":%d,\"content_type\":\"application/json\",\"extension\":\"json\","
           "\"pause_millis\":0,\"cpu_millis\":0,\"ended_millis\":%.0f,"
           "\"notes\":[\"figures alone: written when the limit of its heap was met\"]}",
           length, now);
  if (!write_file(path, text)) return;
  strcat(path, ".json");
  write_file(path, about);
}
