// What ThreadSanitizer needs beside the compiler's instrumentation (Swift 6.3 on Linux). Linked into every executable that
// `make sanitize` builds for it. There are no suppressions.
//
// 1. `Synchronization.Mutex` where ThreadSanitizer cannot see it. The fast path, one compare-and-exchange, is inlined into
// the code that uses the lock, and instrumented there. The slow path, taken when threads contend, is code of the standard
// library: it is not instrumented, and locks by system calls (FUTEX_LOCK_PI, FUTEX_UNLOCK_PI). So ThreadSanitizer sees
// neither who got the lock nor who gave it up, and takes what happens under it for races.
//
// Three functions below stand in for the library's: a definition in the executable goes before one in a shared library.
// Each does what the library's does, by calling it, and reports it as an acquisition or a release of the lock's word, the
// one that the fast path's instructions are on. Data that the lock does not guard races as before.
//
// 2. Accesses by `inout`. The compiler reports a variable that is passed `inout` as written, whether it is or not. For a
// variable of no size, such as a SystemRandomNumberGenerator, it reports an undefined address, and the process dies. So
// these reports, which the linker sends here (--wrap), are dropped. Whatever reads or writes is instrumented by itself.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define SWIFT __attribute__((swiftcall))
#define HANDLE __attribute__((swift_context)) void *handle

// Synchronization._MutexHandle._lockSlow(UInt32), ._tryLockSlow() -> Bool, ._unlockSlow()
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

// ThreadSanitizer's own: what happened before the release of an address happened before what follows its acquisition.
void __tsan_acquire(void *address);
void __tsan_release(void *address);

static SWIFT void (*library_lock)(uint32_t thread, HANDLE);
static SWIFT bool (*library_try_lock)(HANDLE);
static SWIFT void (*library_unlock)(HANDLE);

static void *library_function(const char *name) {
    void *function = dlsym(RTLD_NEXT, name);
    if (function == NULL) {
        fprintf(stderr, "mutex.c: the Swift library has no %s; this file does not fit it\n", name);
        abort();
    }
    return function;
}

__attribute__((constructor)) static void find_library_functions(void) {
    library_lock = library_function(LOCK);
    library_try_lock = library_function(TRY_LOCK);
    library_unlock = library_function(UNLOCK);
}

SWIFT void lock_slow(uint32_t thread, HANDLE) __asm__(LOCK);
SWIFT void lock_slow(uint32_t thread, HANDLE) {
    library_lock(thread, handle);
    __tsan_acquire(handle);
}

SWIFT bool try_lock_slow(HANDLE) __asm__(TRY_LOCK);
SWIFT bool try_lock_slow(HANDLE) {
    bool locked = library_try_lock(handle);
    if (locked) __tsan_acquire(handle);
    return locked;
}

SWIFT void unlock_slow(HANDLE) __asm__(UNLOCK);
SWIFT void unlock_slow(HANDLE) {
    __tsan_release(handle);
    library_unlock(handle);
}

void __wrap___tsan_external_write(void *address, void *caller, void *tag);
void __wrap___tsan_external_write(void *address, void *caller, void *tag) {
    (void)address, (void)caller, (void)tag;
}
