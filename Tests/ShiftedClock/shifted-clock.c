// A wall clock that can be moved while a program runs: preload it, and name a file by SHIFTED_CLOCK that holds the shift
// in microseconds as a 64-bit integer of the machine's own byte order. The monotonic clocks stay as they are.
//
// libfaketime does as much, but not for a program that brings jemalloc along, as Debian's redis-server does: it waits for
// itself before main().

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *shift;

__attribute__((constructor)) static void open_shift(void) {
    const char *path = getenv("SHIFTED_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) _exit(96);
    void *page = mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, file, 0);
    if (page == MAP_FAILED) _exit(97);
    close(file);
    shift = page;
}

static int64_t shifted_microseconds(int64_t *nanoseconds) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    *nanoseconds = now.tv_nsec % 1000;
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 + (shift ? *shift : 0);
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    int64_t rest, now = shifted_microseconds(&rest);
    time->tv_sec = now / 1000000;
    time->tv_usec = now % 1000000;
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return (int)syscall(SYS_clock_gettime, clock, time);
    int64_t rest, now = shifted_microseconds(&rest);
    time->tv_sec = now / 1000000;
    time->tv_nsec = now % 1000000 * 1000 + rest;
    return 0;
}

time_t time(time_t *result) {
    int64_t rest, now = shifted_microseconds(&rest);
    if (result) *result = now / 1000000;
    return now / 1000000;
}
