/*
 * Names the oldest version of each call that glibc has moved between its libraries, so that a file
 * built on a new system is loaded on an old one too: glibc 2.17 (2012) suffices. Included by the
 * compiler's command line (-include), before anything else. musl has no versions.
 */
#if !defined(__ASSEMBLER__)
#include <features.h>
#if defined(__GLIBC__)
#if defined(__x86_64__)
#define OLDEST(name) __asm__(".symver " #name "," #name "@GLIBC_2.2.5")
#define OLDEST_OF(name, version) __asm__(".symver " #name "," #name "@" version)
#elif defined(__aarch64__)
#define OLDEST(name) __asm__(".symver " #name "," #name "@GLIBC_2.17")
#define OLDEST_OF(name, version) OLDEST(name)
#endif
OLDEST(dlsym);
OLDEST(pthread_create);
OLDEST(pthread_join);
OLDEST(pthread_sigmask);
OLDEST(pthread_attr_setstacksize);
OLDEST(pthread_mutex_trylock);
OLDEST(pthread_rwlock_tryrdlock);
OLDEST(pthread_rwlock_trywrlock);
OLDEST(sem_init);
OLDEST(sem_destroy);
OLDEST(sem_post);
OLDEST(sem_wait);
OLDEST(sem_trywait);
#endif
#endif
