// What C on hiredis reaches at the same work, as the measure for `lab bench`. Prints one JSON object a run.
//
//   baseline sync    <socket> <commands>                       EVALSHA `return 1`, one after the other
//   baseline async   <socket> <commands> <in flight>           the same, <in flight> at once, by hiredis' async interface
//   baseline flights <socket> <flights>  <in flight> <complete> SET NX PX, then the protocol's completion
//   baseline wakeup  <socket> <rounds>   <followers> <enter> <complete>
//       a leader and forked followers that register by the protocol's script and wait for the announcement;
//       from the leader's completion to the last follower's message
//
// <enter> and <complete> are the SHA-1 hashes of the scripts, which the server must have.
#define _GNU_SOURCE
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *record_rest = "0123456789abcdef0123456789abcdef0001000000010000000100000000000000{\"label\":\"c\",\"startedAt\":0,\"renewals\":0}";

static void die(const char *what) {
    fprintf(stderr, "baseline: %s\n", what);
    exit(1);
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static int64_t cpu(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return ((int64_t)usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000
        + ((int64_t)usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

static int ascending(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static void report_latencies(int64_t *latencies, long count) {
    qsort(latencies, count, sizeof *latencies, ascending);
    printf("{\"p50\":%ld,\"p99\":%ld}\n", (long)latencies[count / 2], (long)latencies[count * 99 / 100]);
}

static redisContext *connect_to(const char *path) {
    redisContext *context = redisConnectUnix(path);
    if (!context || context->err) die("cannot connect");
    return context;
}

static redisReply *ask(redisContext *context, int count, const char **words) {
    redisReply *reply = redisCommandArgv(context, count, words, NULL);
    if (!reply || reply->type == REDIS_REPLY_ERROR) die(reply ? reply->str : "connection lost");
    return reply;
}

static void load_trivial_script(const char *path, char hash[41]) {
    redisContext *context = connect_to(path);
    redisReply *reply = ask(context, 3, (const char *[]){"SCRIPT", "LOAD", "return 1"});
    snprintf(hash, 41, "%s", reply->str);
    freeReplyObject(reply);
    redisFree(context);
}

static void run_sync(const char *path, long commands) {
    char hash[41];
    load_trivial_script(path, hash);
    redisContext *context = connect_to(path);
    int64_t *latencies = calloc(commands, sizeof *latencies);
    for (long i = 0; i < commands; i++) {
        int64_t start = now();
        freeReplyObject(ask(context, 3, (const char *[]){"EVALSHA", hash, "0"}));
        latencies[i] = now() - start;
    }
    report_latencies(latencies, commands);
}

// hiredis' async interface wants an event loop: this one serves a single connection.
static int wants_read, wants_write;
static void add_read(void *_) { wants_read = 1; }
static void del_read(void *_) { wants_read = 0; }
static void add_write(void *_) { wants_write = 1; }
static void del_write(void *_) { wants_write = 0; }

static redisAsyncContext *async;
static long left_to_start, left_to_finish, serial;
static char trivial_hash[41];
static const char *complete_hash;

static void start_next(void);

static void answered(redisAsyncContext *_, void *reply, void *data) {
    (void)data;
    if (!reply || ((redisReply *)reply)->type == REDIS_REPLY_ERROR) die(reply ? ((redisReply *)reply)->str : "lost");
    left_to_finish--;
    start_next();
}

static void acquired(redisAsyncContext *context, void *reply, void *data) {
    (void)context;
    if (!reply || ((redisReply *)reply)->type != REDIS_REPLY_STATUS) die("the lease was not granted");
    long id = (long)(intptr_t)data;
    char lease[64], wait[64], done[128], last[64], token[33];
    snprintf(lease, sizeof lease, "sf2:{c:1}:lease:c:key-%ld", id);
    snprintf(wait, sizeof wait, "sf2:{c:1}:wait:c:key-%ld", id);
    snprintf(token, sizeof token, "%032lx", id);
    snprintf(done, sizeof done, "sf2:{c:1}:done:c:key-%ld:%s", id, token);
    snprintf(last, sizeof last, "sf2:{c:1}:last:c:key-%ld", id);
    const char *words[] = {"EVALSHA", complete_hash, "4", lease, wait, done, last, token, "v", "SF\001\004json\001c[1]",
        "0", "sf2:in:c:0:"};
    redisAsyncCommandArgv(async, answered, NULL, 12, words, NULL);
}

static void start_next(void) {
    if (left_to_start == 0) return;
    left_to_start--;
    if (!complete_hash) {
        redisAsyncCommandArgv(async, answered, NULL, 3, (const char *[]){"EVALSHA", trivial_hash, "0"}, NULL);
        return;
    }
    long id = ++serial;
    char lease[64], record[256];
    snprintf(lease, sizeof lease, "sf2:{c:1}:lease:c:key-%ld", id);
    snprintf(record, sizeof record, "%032lx%s", id, record_rest);
    const char *words[] = {"SET", lease, record, "NX", "PX", "20000"};
    redisAsyncCommandArgv(async, acquired, (void *)(intptr_t)id, 6, words, NULL);
}

static void run_async(const char *path, long count, long in_flight) {
    if (!complete_hash) load_trivial_script(path, trivial_hash);
    async = redisAsyncConnectUnix(path);
    if (!async || async->err) die("cannot connect");
    async->ev.addRead = add_read;
    async->ev.delRead = del_read;
    async->ev.addWrite = add_write;
    async->ev.delWrite = del_write;
    add_write(NULL);
    left_to_start = left_to_finish = count;
    int64_t start = now(), cpu_start = cpu();
    for (long i = 0; i < in_flight; i++) start_next();
    while (left_to_finish > 0) {
        struct pollfd request = {async->c.fd, (wants_read ? POLLIN : 0) | (wants_write ? POLLOUT : 0), 0};
        if (poll(&request, 1, 5000) <= 0) die("no answer");
        if (request.revents & POLLIN) redisAsyncHandleRead(async);
        if (request.revents & POLLOUT) redisAsyncHandleWrite(async);
    }
    int64_t elapsed = now() - start;
    printf("{\"perSecond\":%.0f,\"cpu\":%.0f}\n", count * 1e9 / elapsed, (double)(cpu() - cpu_start) / count);
}

struct message { int64_t time; };

static void follow(const char *path, int parent, int number, const char *enter_hash) {
    redisContext *commands = connect_to(path), *inbox = connect_to(path);
    char id[33], channel[64];
    snprintf(id, sizeof id, "%032d", number);
    snprintf(channel, sizeof channel, "sf2:in:c:0:%s", id);
    freeReplyObject(ask(inbox, 2, (const char *[]){"SUBSCRIBE", channel}));
    int64_t round;
    while (read(parent, &round, sizeof round) == sizeof round) {
        char lease[64], wait[64], done[128], last[64], token[33], record[256];
        snprintf(lease, sizeof lease, "sf2:{c:2}:lease:c:key-%ld", (long)round);
        snprintf(wait, sizeof wait, "sf2:{c:2}:wait:c:key-%ld", (long)round);
        snprintf(last, sizeof last, "sf2:{c:2}:last:c:key-%ld", (long)round);
        // Never the leader's token: to the script that would be the leader asking again.
        snprintf(token, sizeof token, "f%031lx", (long)(round * 1000 + number));
        snprintf(done, sizeof done, "sf2:{c:2}:done:c:key-%ld:%s", (long)round, token);
        snprintf(record, sizeof record, "%s%s", token, record_rest);
        const char *enter[] = {"EVALSHA", enter_hash, "4", lease, wait, done, last, token, record, id, "0", "0", "",
            "0", "sf2:in:c:0:"};
        freeReplyObject(ask(commands, 15, enter));
        int64_t time = 0;
        if (write(parent, &time, sizeof time) != sizeof time) exit(1);
        void *announcement;
        if (redisGetReply(inbox, &announcement) != REDIS_OK) exit(1);
        time = now();
        freeReplyObject(announcement);
        if (write(parent, &time, sizeof time) != sizeof time) exit(1);
    }
    exit(0);
}

static void run_wakeup(const char *path, long rounds, long followers, const char *enter_hash) {
    int sockets[followers];
    for (long i = 0; i < followers; i++) {
        int ends[2];
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) die("no socket");
        if (fork() == 0) {
            // An inherited end of an older follower's socket would keep that one from seeing the parent's end of file.
            for (long k = 0; k < i; k++) close(sockets[k]);
            close(ends[0]);
            follow(path, ends[1], (int)i + 1, enter_hash);
        }
        close(ends[1]);
        sockets[i] = ends[0];
    }
    redisContext *context = connect_to(path);
    int64_t *latencies = calloc(rounds, sizeof *latencies);
    for (int64_t round = 0; round < rounds; round++) {
        char lease[64], wait[64], done[128], last[64], token[33], record[256], payload[160];
        snprintf(lease, sizeof lease, "sf2:{c:2}:lease:c:key-%ld", (long)round);
        snprintf(wait, sizeof wait, "sf2:{c:2}:wait:c:key-%ld", (long)round);
        snprintf(last, sizeof last, "sf2:{c:2}:last:c:key-%ld", (long)round);
        snprintf(token, sizeof token, "%032lx", (long)round + 1);
        snprintf(done, sizeof done, "sf2:{c:2}:done:c:key-%ld:%s", (long)round, token);
        snprintf(record, sizeof record, "%s%s", token, record_rest);
        snprintf(payload, sizeof payload, "%0100d", 0);
        freeReplyObject(ask(context, 6, (const char *[]){"SET", lease, record, "NX", "PX", "20000"}));
        int64_t time;
        for (long i = 0; i < followers; i++)
            if (write(sockets[i], &round, sizeof round) != sizeof round) die("a follower is gone");
        for (long i = 0; i < followers; i++)
            if (read(sockets[i], &time, sizeof time) != sizeof time) die("a follower is gone");
        // An operation takes a while, in which those who wait for it fall asleep, and so do processors with nothing to do.
        usleep(2000);
        int64_t start = now(), latest = 0;
        const char *complete[] = {"EVALSHA", complete_hash, "4", lease, wait, done, last, token, "v", payload,
            "0", "sf2:in:c:0:"};
        freeReplyObject(ask(context, 12, complete));
        for (long i = 0; i < followers; i++) {
            if (read(sockets[i], &time, sizeof time) != sizeof time) die("a follower is gone");
            if (time > latest) latest = time;
        }
        latencies[round] = latest - start;
    }
    for (long i = 0; i < followers; i++) close(sockets[i]);
    while (wait(NULL) > 0) {}
    report_latencies(latencies, rounds);
}

int main(int count, char **words) {
    if (count < 4) die("usage: see the source");
    const char *mode = words[1], *path = words[2];
    // Whatever goes wrong: nobody waits for us longer. Followers end with their parent.
    alarm(60);
    long number = atol(words[3]);
    if (!strcmp(mode, "sync")) run_sync(path, number);
    else if (!strcmp(mode, "async") && count == 5) run_async(path, number, atol(words[4]));
    else if (!strcmp(mode, "flights") && count == 6) {
        complete_hash = words[5];
        run_async(path, number, atol(words[4]));
    } else if (!strcmp(mode, "wakeup") && count == 7) {
        complete_hash = words[6];
        run_wakeup(path, number, atol(words[4]), words[5]);
    } else die("usage: see the source");
    return 0;
}
