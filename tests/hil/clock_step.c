/* Preloaded into a process: its CLOCK_REALTIME jumps by an hour, back and forth, between any two readings.
 *
 * CLOCK_MONOTONIC is left alone. Each process leaves a file named by its id in the folder CLOCK_STEP_LOG, so that a test
 * can see that the shim was there.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static unsigned long count;

__attribute__((constructor)) static void leave_file(void)
{
    char path[4096];
    const char *folder = getenv("CLOCK_STEP_LOG");
    if (!folder)
        return;
    snprintf(path, sizeof path, "%s/%d", folder, (int)getpid());
    close(open(path, O_RDWR | O_CREAT, 0600));
}

static long step(void)
{
    unsigned long n = __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
    return 3600 * ((long)(n % 3) - 1); /* an hour back, none, an hour on */
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        time->tv_sec += step();
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}
