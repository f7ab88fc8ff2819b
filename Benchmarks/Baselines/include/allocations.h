// What allocations.c counts, for a program that it is linked into.
#pragma once

/// How often the heap was asked for memory.
long singleflight_allocations(void);

/// What the heap has given out and not got back.
long singleflight_heap_bytes(void);
