/*
 * What a forked child does first: alone, bounded, unable to wait for threads it lacks.
 *
 * A fork copies the calling thread only. V8 goes on posting work to threads that are gone: waking
 * them can hang in glibc's condition variables, and waiting for them never ends. So calls of the
 * program's objects into the thread library are replaced, in the child only, through the tables
 * (GOT) that the loader filled: waking does nothing, and what would wait for ever ends the child
 * at once, so that the parent can try again.
 */
#include "fork.h"

#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <link.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The descriptor that the snapshot is written to. */
enum { OUTPUT = 3 };

enum {
  /* Node's own object has about ten such calls, each native addon as many at most. */
  MAX_SLOTS = 4096,
  /* Node's platform has some thirty virtual functions. */
  VTABLE_WORDS = 40,
  LAST_SIGNAL = 64,
};

static struct words *last_words;

static void say(const char *text) {
  if (last_words == NULL) return;
  strncpy(last_words->message, text, MESSAGE_BYTES - 1);
  last_words->message[MESSAGE_BYTES - 1] = '\0';
}

static void stuck(const char *what) {
  say(what);
  _exit(CHILD_STUCK);
}

/* ---- what the child calls instead ------------------------------------------------------------- */

static int wake_nobody(void *condition) {
  (void)condition;
  return 0;
}

static int wait_never(pthread_cond_t *condition, pthread_mutex_t *mutex) {
  (void)condition, (void)mutex;
  stuck("waits for a thread to signal it");
  return 0;
}

static int wait_shortly(pthread_cond_t *condition, pthread_mutex_t *mutex,
                        const struct timespec *until) {
  (void)condition, (void)mutex, (void)until;
  return ETIMEDOUT;
}

static int lock_now(pthread_mutex_t *mutex) {
  int error = pthread_mutex_trylock(mutex);
  if (error == EBUSY) stuck("a lock was held by another thread");
  return error;
}

static int lock_shared_now(pthread_rwlock_t *lock) {
  int error = pthread_rwlock_tryrdlock(lock);
  if (error == EBUSY) stuck("a shared lock was held by another thread");
  return error;
}

static int lock_alone_now(pthread_rwlock_t *lock) {
  int error = pthread_rwlock_trywrlock(lock);
  if (error == EBUSY) stuck("a shared lock was held by another thread");
  return error;
}

static int take_now(sem_t *semaphore) {
  int failed = sem_trywait(semaphore);
  if (failed && errno == EAGAIN) stuck("waits for another thread's semaphore");
  return failed;
}

static int take_shortly(sem_t *semaphore, const struct timespec *until) {
  (void)until;
  int failed = sem_trywait(semaphore);
  if (failed && errno == EAGAIN) errno = ETIMEDOUT;
  return failed;
}

/* Newer V8s wait by the bare system call. Whoever sleeps on a word that only another thread could
 * change sleeps for ever; with a time limit it is as if that had passed. */
static long call_now(long number, long a, long b, long c, long d, long e, long f) {
  if (number == SYS_futex) {
    int operation = (int)b & FUTEX_CMD_MASK;
    bool waits = operation == FUTEX_WAIT || operation == FUTEX_WAIT_BITSET;
    if (waits && __atomic_load_n((const int *)a, __ATOMIC_SEQ_CST) == (int)c) {
      if (d == 0) stuck("waits for another thread");
      errno = ETIMEDOUT;
      return -1;
    }
  }
  return syscall(number, a, b, c, d, e, f);
}

static const struct replacement {
  const char *name;
  void *function;
} REPLACEMENTS[] = {
    {"pthread_cond_signal", wake_nobody},   {"pthread_cond_broadcast", wake_nobody},
    {"pthread_cond_wait", wait_never},      {"pthread_cond_timedwait", wait_shortly},
    {"pthread_mutex_lock", lock_now},
    {"pthread_rwlock_rdlock", lock_shared_now}, {"pthread_rwlock_wrlock", lock_alone_now},
    {"sem_wait", take_now},                 {"sem_timedwait", take_shortly},
    {"syscall", call_now},
};

/* ---- finding the calls ------------------------------------------------------------------------ */

#if defined(__x86_64__)
enum { REL_DATA = R_X86_64_GLOB_DAT, REL_CALL = R_X86_64_JUMP_SLOT };
#elif defined(__aarch64__)
enum { REL_DATA = R_AARCH64_GLOB_DAT, REL_CALL = R_AARCH64_JUMP_SLOT };
#else
#error "written for x86_64 and aarch64"
#endif

static struct slot {
  void **at;
  void *function;
} slots[MAX_SLOTS];
static int slot_count;
static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;

static void *replacement_of(const char *name) {
  for (size_t at = 0; at < sizeof REPLACEMENTS / sizeof *REPLACEMENTS; at++)
    if (strcmp(name, REPLACEMENTS[at].name) == 0) return REPLACEMENTS[at].function;
  return NULL;
}

/* The dynamic section's tables of one loaded object. */
struct tables {
  const ElfW(Sym) * symbols;
  const char *names;
  const ElfW(Rela) * calls, *data;
  size_t call_count, data_count;
};

static void slots_add(ElfW(Addr) base, const struct tables *tables, const ElfW(Rela) * relocations,
                      size_t count) {
  for (size_t at = 0; relocations != NULL && at < count && slot_count < MAX_SLOTS; at++) {
    unsigned long type = ELF64_R_TYPE(relocations[at].r_info);
    if (type != REL_CALL && type != REL_DATA) continue;
    const ElfW(Sym) *symbol = &tables->symbols[ELF64_R_SYM(relocations[at].r_info)];
    void *function = replacement_of(tables->names + symbol->st_name);
    if (function == NULL) continue;
    slots[slot_count].at = (void **)(base + relocations[at].r_offset);
    slots[slot_count++].function = function;
  }
}

/* glibc writes addresses into the dynamic section, musl leaves offsets in it. */
static const void *resolved(ElfW(Addr) base, ElfW(Addr) pointer) {
  return (const void *)(pointer < base ? base + pointer : pointer);
}

static struct tables tables_of(ElfW(Addr) base, const ElfW(Dyn) * dynamic) {
  struct tables tables = {0};
  for (; dynamic->d_tag != DT_NULL; dynamic++) {
    ElfW(Addr) pointer = dynamic->d_un.d_ptr;
    switch (dynamic->d_tag) {
      case DT_SYMTAB: tables.symbols = resolved(base, pointer); break;
      case DT_STRTAB: tables.names = resolved(base, pointer); break;
      case DT_JMPREL: tables.calls = resolved(base, pointer); break;
      case DT_RELA: tables.data = resolved(base, pointer); break;
      case DT_PLTRELSZ: tables.call_count = dynamic->d_un.d_val / sizeof(ElfW(Rela)); break;
      case DT_RELASZ: tables.data_count = dynamic->d_un.d_val / sizeof(ElfW(Rela)); break;
      default: break;
    }
  }
  return tables;
}

/* The C library calls itself past these tables, and the kernel's object has none. */
static bool is_librarys_own(const char *path) {
  static const char *const NAMES[] = {"libc.so", "libc.musl", "libpthread", "ld-linux", "ld-musl",
                                      "linux-vdso", "libc-2."};
  for (size_t at = 0; at < sizeof NAMES / sizeof *NAMES; at++)
    if (strstr(path, NAMES[at]) != NULL) return true;
  return false;
}

static bool holds(const struct dl_phdr_info *object, const void *address) {
  for (int at = 0; at < object->dlpi_phnum; at++) {
    const ElfW(Phdr) *header = &object->dlpi_phdr[at];
    ElfW(Addr) start = object->dlpi_addr + header->p_vaddr;
    if (header->p_type == PT_LOAD && (ElfW(Addr))address >= start &&
        (ElfW(Addr))address < start + header->p_memsz)
      return true;
  }
  return false;
}

static int slots_of_object(struct dl_phdr_info *object, size_t size, void *unused) {
  (void)size, (void)unused;
  if (is_librarys_own(object->dlpi_name) || holds(object, REPLACEMENTS)) return 0;
  for (int at = 0; at < object->dlpi_phnum; at++) {
    const ElfW(Phdr) *header = &object->dlpi_phdr[at];
    if (header->p_type != PT_DYNAMIC) continue;
    struct tables tables =
        tables_of(object->dlpi_addr, (const ElfW(Dyn) *)(object->dlpi_addr + header->p_vaddr));
    if (tables.symbols == NULL || tables.names == NULL) continue;
    slots_add(object->dlpi_addr, &tables, tables.calls, tables.call_count);
    slots_add(object->dlpi_addr, &tables, tables.data, tables.data_count);
  }
  return 0;
}

/*
 * Takes a task and leaves it for ever: V8 asks for it back before it waits for it, and does it
 * itself. A std::unique_ptr is passed by the place of its only word.
 */
static void keep_task(void *platform, void **task) {
  (void)platform;
  *task = NULL;
}

static void keep_ranked_task(void *platform, int priority, void **task) {
  (void)platform, (void)priority;
  *task = NULL;
}

/*
 * V8 hands tasks to Node's platform, whose queue has a lock that all threads of the process share:
 * the one lock that a busy process often holds at the instant of a fork. Nobody takes tasks from
 * that queue in the child, so they are not put there. Without these names the child ends when it
 * meets the lock, as with any other.
 */
static void slots_of_platform(void) {
  static const struct replacement POSTS[] = {
      /* Node 18 and 20 */
      {"_ZN4node12NodePlatform18CallOnWorkerThreadESt10unique_ptrIN2v84TaskESt14default_deleteIS3_"
       "EE", keep_task},
      {"_ZN4node12NodePlatform25CallDelayedOnWorkerThreadESt10unique_ptrIN2v84TaskESt14default_"
       "deleteIS3_EEd", keep_task},
      /* from Node 22 on */
      {"_ZN4node12NodePlatform26PostTaskOnWorkerThreadImplEN2v812TaskPriorityESt10unique_ptrINS1_"
       "4TaskESt14default_deleteIS4_EERKNS1_14SourceLocationE", keep_ranked_task},
      {"_ZN4node12NodePlatform33PostDelayedTaskOnWorkerThreadImplEN2v812TaskPriorityESt10unique_"
       "ptrINS1_4TaskESt14default_deleteIS4_EEdRKNS1_14SourceLocationE", keep_ranked_task},
  };
  void **table = dlsym(RTLD_DEFAULT, "_ZTVN4node12NodePlatformE");
  for (size_t post = 0; table != NULL && post < sizeof POSTS / sizeof *POSTS; post++) {
    void *function = dlsym(RTLD_DEFAULT, POSTS[post].name);
    for (int at = 0; function != NULL && at < VTABLE_WORDS && slot_count < MAX_SLOTS; at++) {
      if (table[at] != function) continue;
      slots[slot_count].at = &table[at];
      slots[slot_count++].function = POSTS[post].function;
    }
  }
}

int child_prepare(void) {
  pthread_mutex_lock(&slots_lock);
  slot_count = 0;
  dl_iterate_phdr(slots_of_object, NULL);
  int found = slot_count;
  slots_of_platform();
  pthread_mutex_unlock(&slots_lock);
  return found;
}

/* ---- isolating -------------------------------------------------------------------------------- */

static int replace_calls(void) {
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  for (int at = 0; at < slot_count; at++) {
    uintptr_t start = (uintptr_t)slots[at].at & ~(page - 1);
    if (mprotect((void *)start, page, PROT_READ | PROT_WRITE) != 0) return -1;
    *slots[at].at = slots[at].function;
  }
  return 0;
}

static void crashed(int number) {
  char text[MESSAGE_BYTES];
  snprintf(text, sizeof text, "signal %d", number);
  say(text);
  _exit(CHILD_CRASHED);
}

/* The app's handlers are not for the child; a crash leaves no core file and no word on stderr. */
static void reset_signals(void) {
  static const int FATAL[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS};
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = SIG_DFL;
  for (int number = 1; number <= LAST_SIGNAL; number++) sigaction(number, &action, NULL);
  action.sa_handler = crashed;
  for (size_t at = 0; at < sizeof FATAL / sizeof *FATAL; at++) sigaction(FATAL[at], &action, NULL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  /* 1 and not 0: a program in core_pattern is started for 0 too. */
  struct rlimit cores = {1, 1};
  setrlimit(RLIMIT_CORE, &cores);
}

/*
 * Points every descriptor but the output's at /dev/null: closed ones would be no better, since
 * libuv ends the program when it cannot wake its own loop.
 */
static int keep_only(int output) {
  int null = open("/dev/null", O_RDWR);
  DIR *open_ones = opendir("/proc/self/fd");
  if (null < 0 || open_ones == NULL || dup2(output, OUTPUT) < 0) return -1;
  for (struct dirent *entry; (entry = readdir(open_ones)) != NULL;) {
    int number = atoi(entry->d_name);
    bool is_name = entry->d_name[0] != '.';
    bool needed = number == OUTPUT || number == null || number == dirfd(open_ones);
    if (is_name && !needed && dup2(null, number) < 0) return -1;
  }
  closedir(open_ones);
  return 0;
}

static void die_first(void) {
  int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  if (write(file, "1000", 4) != 4) errno = 0; /* it is the parent's then */
  close(file);
}

/* Bytes of writable private mappings now: what RLIMIT_DATA counts. */
static uint64_t data_bytes(void) {
  char text[128];
  int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  ssize_t got = read(file, text, sizeof text - 1);
  close(file);
  if (got <= 0) return 0;
  text[got] = '\0';
  unsigned long size, rss, shared, code, libraries, data;
  int found = sscanf(text, "%lu %lu %lu %lu %lu %lu", &size, &rss, &shared, &code, &libraries, &data);
  return found == 6 ? (uint64_t)data * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

/* The kernel's own bound, should the watch look too late. It counts what is mapped and not what
 * is used, hence half as much again. */
void child_bound_memory(uint64_t max_bytes) {
  uint64_t now = data_bytes();
  if (max_bytes == 0 || now == 0) return;
  struct rlimit limit;
  if (getrlimit(RLIMIT_DATA, &limit) != 0) return;
  rlim_t wanted = (rlim_t)(now + max_bytes + max_bytes / 2);
  if (limit.rlim_max == RLIM_INFINITY || wanted < limit.rlim_max) limit.rlim_cur = wanted;
  setrlimit(RLIMIT_DATA, &limit);
}

int child_isolate(int output, pid_t parent, const struct limits *limits, struct words *words) {
  last_words = words;
  reset_signals();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) {
    say("its parent is gone");
    return -1;
  }
  prctl(PR_SET_NAME, "memwatch-snap");
  die_first();
  child_bound_memory(limits->max_bytes);
  if (limits->nice > 0) setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + limits->nice);
  uint64_t seconds = (limits->deadline_millis + 999) / 1000;
  if (seconds > 0) alarm(seconds > UINT_MAX ? UINT_MAX : (unsigned)seconds);
  if (keep_only(output) != 0) {
    say("its descriptors could not be closed");
    return -1;
  }
  if (replace_calls() != 0) {
    say("its calls could not be replaced");
    return -1;
  }
  return 0;
}
