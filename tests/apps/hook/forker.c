/* A thread of C that forks again and again without the interpreter's lock; each child reads a byte amid each piece of
   memory that it was told of. `failures` counts children that could not, or found another byte. */
#include <pthread.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

static const char **starts;
static size_t count, length;
static volatile long forks_done, failed;

static int all_there(void)
{
    for (size_t i = 0; i < count; i++)
        if (starts[i][length / 2] != 1)
            return 0;
    return 1;
}

static void *fork_on(void *unused)
{
    for (;;) {
        int status = 1;
        pid_t child = fork();
        if (child == 0)
            _exit(all_there() ? 0 : 1);
        waitpid(child, &status, 0);
        failed += status != 0;
        forks_done++;
    }
    return unused;
}

int start(const char **memory, size_t how_many, size_t how_long)
{
    pthread_t thread;
    starts = memory;
    count = how_many;
    length = how_long;
    return pthread_create(&thread, NULL, fork_on, NULL);
}

long forks(void)
{
    return forks_done;
}

long failures(void)
{
    return failed;
}
