#pragma once

#if !__has_include(<hiredis/hiredis.h>)
#error "swift-singleflight needs the headers of hiredis: apt-get install libhiredis-dev, dnf install hiredis-devel, apk add hiredis-dev, or brew install hiredis (and then: swift build -Xcc -I$(brew --prefix)/include -Xlinker -L$(brew --prefix)/lib)"
#endif
#include <hiredis/hiredis.h>

#if HIREDIS_MAJOR == 0 && HIREDIS_MINOR < 14
#error "hiredis 0.14 or later is needed"
#endif

// What Swift uses of hiredis, in one shape for 0.14 and 1.x: field types differ between the two (`len` is an int in
// some, `redisReply` has more fields in 1.x), and `void **` out-parameters are awkward from Swift.

typedef enum {
    chiredis_incomplete = 0,
    chiredis_complete = 1,
    chiredis_failed = 2,
} chiredis_status;

// Takes the next whole reply out of the reader. The caller owns it and frees it with freeReplyObject.
static inline chiredis_status chiredis_next(redisReader *reader, redisReply **reply) {
    void *object = NULL;
    *reply = NULL;
    if (redisReaderGetReply(reader, &object) != REDIS_OK) {
        if (object != NULL) freeReplyObject(object);
        return chiredis_failed;
    }
    *reply = (redisReply *)object;
    return object == NULL ? chiredis_incomplete : chiredis_complete;
}

static inline int chiredis_reply_type(const redisReply *reply) { return reply->type; }
static inline long long chiredis_reply_integer(const redisReply *reply) { return reply->integer; }
static inline const char *chiredis_reply_bytes(const redisReply *reply) { return reply->str; }
static inline size_t chiredis_reply_length(const redisReply *reply) { return (size_t)reply->len; }
static inline size_t chiredis_reply_count(const redisReply *reply) { return (size_t)reply->elements; }
static inline const redisReply *chiredis_reply_element(const redisReply *reply, size_t index) {
    return reply->element[index];
}
static inline const char *chiredis_reader_error(const redisReader *reader) { return reader->errstr; }
