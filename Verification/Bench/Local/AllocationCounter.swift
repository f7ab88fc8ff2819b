#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// What Benchmarks/Baselines/allocations.c counts, where that is loaded into this process.
struct AllocationCounter {
    private typealias Reading = @convention(c) () -> Int

    private let allocations: Reading
    private let heap: Reading

    init?() {
        guard let allocations = dlsym(nil, "singleflight_allocations"), let heap = dlsym(nil, "singleflight_heap_bytes")
        else { return nil }
        // The library's functions have exactly this type.
        self.allocations = unsafeBitCast(allocations, to: Reading.self)
        self.heap = unsafeBitCast(heap, to: Reading.self)
    }

    var count: Int { allocations() }

    /// What the heap has given out and not got back. Resident memory would say less: what is measured second finds the
    /// memory that the first gave back.
    var heapBytes: Int { heap() }
}
